"""`python -m uringtrio`: a prompt where `await` works."""

import uringtrio
from uringtrio._debug.repl import main

if __name__ == "__main__":
    main({"__name__": "__main__", "__builtins__": __builtins__, "uringtrio": uringtrio})
