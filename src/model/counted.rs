//! Says numbers of things, and shortens long lists, for people.

/// Returns the text that follows a shortened list, such as ` and 3 more`. Empty if the list is
/// complete.
pub(crate) fn and_more(all: usize, shown: usize) -> String {
    match all.saturating_sub(shown) {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

/// Formats a number with a noun.
pub(crate) fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!([0, 1, 2].map(|n| count(n, "build", "builds")), ["0 builds", "1 build", "2 builds"]);
    }

    #[test]
    fn what_is_left_out_is_counted() {
        assert_eq!((and_more(13, 12), and_more(12, 12), and_more(0, 12)), (" and 1 more".into(), "".into(), "".into()));
    }
}
