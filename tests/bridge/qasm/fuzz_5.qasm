OPENQASM 3; h $0; U(0b11, 0x1F, 1_0) $1; ctrl @ U(.5, 1., 2im) $1, $2; const angle a = 1.5; const bool b = !true; bit[2] s = "01"; duration d = 2ms; stretch e; complex[float] z; end;
