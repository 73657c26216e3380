//! `KeyExpr`: sharding-key conditions as literal slot or parameter; what is not understood widens.
