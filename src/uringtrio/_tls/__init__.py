"""TLS and DTLS: engines without I/O, and the streams and channels that pump for them."""
