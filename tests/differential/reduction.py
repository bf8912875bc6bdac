"""Makes a program that behaves differently smaller, as long as it does: for the reader's sake."""

from dataclasses import fields, replace

from .interpreter import difference


def smaller_blocks(block):
    """Yield `block` with one statement less, or with one statement smaller or unwrapped."""
    for at, statement in enumerate(block):
        before, after = block[:at], block[at + 1 :]
        yield before + after
        for field in fields(statement):
            inner = getattr(statement, field.name)
            if field.name == "children":
                for child_at, child in enumerate(inner):
                    others = inner[:child_at], inner[child_at + 1 :]
                    fewer = [others[0] + others[1]]
                    fewer += [(*others[0], less, *others[1]) for less in smaller_blocks(child)]
                    for children in fewer:
                        yield (*before, replace(statement, children=children), *after)
            elif isinstance(inner, tuple):
                yield before + inner + after
                for less in smaller_blocks(inner):
                    yield (*before, replace(statement, **{field.name: less}), *after)


def reduced(program):
    """Return a program on which the runtimes differ too, from which nothing can be left out."""
    for main in smaller_blocks(program.main):
        # Another order of steps may be needed now.
        for seed in (program.seed, 1, 2, 3):
            candidate = replace(program, main=main, seed=seed)
            if difference(candidate) is not None:
                return reduced(candidate)
    return program
