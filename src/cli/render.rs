//! Text for terminals: tables, colours.

use anstyle::{AnsiColor, Style};

use super::out::visible;
use crate::model::PackageState;
use crate::view::text::one_line;

/// Returns the width of a line of standard output in characters: `COLUMNS`, or the width of the
/// terminal. `None` means that it is not a terminal.
pub(crate) fn line_width() -> Option<usize> {
    let said = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok()).filter(|c| *c > 0);
    said.or_else(|| terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0)))
}

/// Returns the style of a state.
pub(crate) fn style(state: PackageState) -> Style {
    let colour = match state {
        PackageState::Ok => AnsiColor::Green,
        PackageState::Failing => AnsiColor::Red,
        PackageState::Unresolved => AnsiColor::Yellow,
        PackageState::Unknown | PackageState::Untracked | PackageState::Blocked => AnsiColor::BrightBlack,
    };
    Style::new().fg_color(Some(colour.into()))
}

/// A table whose columns are as wide as they need to be.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<(Option<Style>, Vec<String>)>,
}

impl Table {
    pub(crate) fn new(heads: &[&str]) -> Self {
        let mut table = Self::default();
        table.rows.push((Some(Style::new().bold()), heads.iter().map(|h| (*h).to_owned()).collect()));
        table
    }

    pub(crate) fn row(&mut self, style: Option<Style>, cells: Vec<String>) {
        // A line end within a cell would look like a new row.
        let cells = cells.iter().map(|cell| visible(cell).replace('\n', "\\u000a").replace('\t', " ")).collect();
        self.rows.push((style, cells));
    }

    /// Makes the table no wider than `width`, if possible. First it shortens the columns of
    /// `squeeze`, in this order, each to the given least width. Then it removes the columns of
    /// `leave_out`, in this order.
    pub(crate) fn fit(&mut self, width: usize, squeeze: &[(&str, usize)], leave_out: &[&str]) {
        let at = |table: &Self, head: &str| table.rows.first().and_then(|(_, r)| r.iter().position(|h| h == head));
        for (head, least) in squeeze {
            let (Some(column), over) = (at(self, head), self.width().saturating_sub(width)) else { continue };
            let to = self.column(column).saturating_sub(over).max(*least);
            if over > 0 {
                for cell in self.rows.iter_mut().skip(1).filter_map(|(_, r)| r.get_mut(column)) {
                    *cell = one_line(cell, to);
                }
            }
        }
        for head in leave_out {
            if let Some(column) = at(self, head).filter(|_| self.width() > width) {
                for (_, row) in self.rows.iter_mut().filter(|(_, r)| r.len() > column) {
                    row.remove(column);
                }
            }
        }
    }

    /// Returns the width of a column in characters.
    fn column(&self, c: usize) -> usize {
        self.rows.iter().filter_map(|(_, r)| r.get(c)).map(|t| t.chars().count()).max().unwrap_or(0)
    }

    /// Returns the width of the table in characters.
    fn width(&self) -> usize {
        let columns = self.rows.iter().map(|(_, r)| r.len()).max().unwrap_or(0);
        (0..columns).map(|c| self.column(c) + 2).sum::<usize>().saturating_sub(2)
    }

    /// Returns the text. `styled` is the column that takes the style of the row.
    pub(crate) fn render(&self, colours: bool, styled: usize) -> String {
        let columns = self.rows.iter().map(|(_, r)| r.len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(|c| self.column(c)).collect();
        let mut text = String::new();
        for (index, (style, cells)) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (c, cell) in cells.iter().enumerate() {
                let padding = " ".repeat(widths[c].saturating_sub(cell.chars().count()) + 2);
                match style {
                    Some(s) if colours && (index == 0 || c == styled) => {
                        line.push_str(&format!("{s}{cell}{s:#}{padding}"));
                    }
                    _ => line.push_str(&format!("{cell}{padding}")),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_one_line() {
        let mut table = Table::new(&["x", "long head"]);
        table.row(None, vec!["value".into(), "y".into()]);
        assert_eq!(table.render(false, 0), "x      long head\nvalue  y\n");
        table.row(None, vec!["a\nb\u{1b}".into(), "y".into()]);
        let rendered = table.render(false, 0);
        assert!(rendered.ends_with("\na\\u000ab\\u001b  y\n"), "{rendered}");
    }

    #[test]
    fn tables_fit() {
        let made = |width| {
            let mut table = Table::new(&["package", "points", "why"]);
            table.row(None, vec!["curl-8-1".into(), "39.2".into(), "nothing provides libzz.so.1 needed by zz".into()]);
            table.fit(width, &[("why", 12)], &["points"]);
            table.render(false, 0)
        };
        let widest = |text: &str| text.lines().map(|l| l.chars().count()).max().unwrap();
        assert_eq!(widest(&made(200)), 58);
        assert_eq!(widest(&made(40)), 40);
        assert!(made(40).contains("points") && made(40).contains('…'));
        assert_eq!(made(29), "package   why\ncurl-8-1  nothing pro…\n");
    }
}
