//! `RowView`: one column of a DataRow, found without copying the row.
