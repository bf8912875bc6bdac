"""Operations: one class per request to the kernel, carried out by a driver."""
