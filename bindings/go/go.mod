module liblsm.internal/lsm

go 1.19
