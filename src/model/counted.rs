//! Long lists, cut short for people.

/// What follows a list that was cut: ` and 3 more`; nothing where everything of it is shown.
pub(crate) fn and_more(all: usize, shown: usize) -> String {
    match all.saturating_sub(shown) {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted() {
        assert_eq!((and_more(13, 12), and_more(12, 12), and_more(0, 12)), (" and 1 more".into(), "".into(), "".into()));
    }
}
