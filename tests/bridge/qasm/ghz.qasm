OPENQASM 2.0;
include "qelib1.inc";
qreg a[2];
qreg b[2];
h a[0];
cx a[0], a[1];
cx a, b;
