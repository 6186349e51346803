//! A table while it is read, and as rows with bars.
//!
//! Cells hold one line each: blocks in a cell are set one after the other. A table of a single
//! column is layout more often than data and becomes paragraphs. The invariant: every row of a
//! written table has as many cells as the widest.

const COLUMNS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    is_in_cell: bool,
    bytes: usize,
}

/// What a table becomes.
#[derive(Debug)]
pub(super) enum Blocks {
    Paragraphs(Vec<String>),
    /// The lines of one table.
    Rows(Vec<String>),
}

impl Table {
    pub(super) fn length(&self) -> usize {
        self.bytes
    }

    pub(super) fn begin_row(&mut self) {
        if self.rows.last().is_none_or(|row| !row.is_empty()) {
            self.rows.push(Vec::new());
        }
    }

    pub(super) fn begin_cell(&mut self) {
        self.is_in_cell = true;
    }

    /// Takes the text of the cell that ends here. An empty cell is a cell; white space between
    /// two cells is none.
    pub(super) fn end_cell(&mut self, text: &str) {
        if !std::mem::take(&mut self.is_in_cell) && text.is_empty() {
            return;
        }
        if self.rows.is_empty() {
            self.rows.push(Vec::new());
        }
        let text = text.replace(['\n', '\r'], " ");
        self.bytes += text.len() + 3;
        match self.rows.last_mut() {
            Some(row) if row.len() < COLUMNS_MAX => row.push(text),
            _ => {}
        }
    }

    pub(super) fn into_blocks(self) -> Blocks {
        let rows: Vec<_> =
            self.rows.into_iter().filter(|row| row.iter().any(|cell| !cell.is_empty())).collect();
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        if columns <= 1 {
            Blocks::Paragraphs(rows.into_iter().map(|row| row.concat()).collect())
        } else {
            Blocks::Rows(with_bars(&rows, columns))
        }
    }
}

fn with_bars(rows: &[Vec<String>], columns: usize) -> Vec<String> {
    let mut lines = Vec::with_capacity(rows.len() + 1);
    for (index, row) in rows.iter().enumerate() {
        let mut line = String::from("|");
        for column in 0..columns {
            let cell = row.get(column).map_or("", String::as_str);
            line.push(' ');
            line.push_str(&cell.replace('|', "\\|"));
            line.push_str(" |");
        }
        lines.push(line);
        if index == 0 {
            lines.push(format!("|{}", " --- |".repeat(columns)));
        }
    }
    lines
}
