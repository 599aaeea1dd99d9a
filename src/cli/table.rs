//! Rows of text in columns.

use core::fmt::Write;

/// How a column stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// At the left of its column, as words.
    Left,
    /// At the right, as numbers.
    Right,
}

/// Writes rows, under a row of names if there is one, with columns as wide as their widest cell.
pub(crate) fn table<const N: usize>(
    out: &mut String,
    head: Option<[&str; N]>,
    rows: impl Iterator<Item = [String; N]>,
    sides: [Side; N],
) -> core::fmt::Result {
    let head = head.map(|names| names.map(str::to_owned));
    let rows: Vec<[String; N]> = head.into_iter().chain(rows).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in &rows {
        let mut line = String::new();
        for ((cell, width), side) in row.iter().zip(widths).zip(sides) {
            match side {
                Side::Left => write!(line, "  {cell:<width$}")?,
                Side::Right => write!(line, "  {cell:>width$}")?,
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
