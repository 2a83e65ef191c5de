//! Describes an error and its causes in words, without repetition.

/// Returns the text of an error and what its causes add, outermost first. Many errors include their
/// cause's text, and no text is repeated.
pub fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    for error in std::iter::successors(Some(error), |e| e.source()) {
        let text = error.to_string();
        if text.trim().is_empty() || said.iter().any(|s| s.contains(&text)) {
            continue;
        }
        // This cause repeats the error before it and says more.
        if said.len() > 1 && said.last().is_some_and(|last| text.contains(last.as_str())) {
            said.pop();
        }
        said.push(text);
    }
    said
}

/// Returns the texts of [`causes`] in one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    causes(error).join(": ")
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::fmt;

    use rstest::rstest;

    use super::*;

    #[derive(Debug)]
    struct Said(&'static str, Option<Box<Said>>);

    impl fmt::Display for Said {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Said {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|e| e as &(dyn Error + 'static))
        }
    }

    #[rstest]
    #[case::each_adds(&["open log", "connect", "refused"], "open log: connect: refused")]
    #[case::cause_at_the_end(&["connect: refused", "refused"], "connect: refused")]
    #[case::cause_in_the_middle(&["refused by x (111), try later", "refused by x"], "refused by x (111), try later")]
    #[case::cause_two_levels_up(&["connect: refused", "io", "refused"], "connect: refused: io")]
    #[case::cause_says_more(&["ask the hub", "refused", "refused (os error 111)"], "ask the hub: refused (os error \
        111)")]
    #[case::nothing(&["ask the hub", "", "refused"], "ask the hub: refused")]
    #[case::transparent(&["refused", "refused"], "refused")]
    fn nothing_is_said_twice(#[case] chain: &[&'static str], #[case] expected: &str) {
        let mut error = None;
        for text in chain.iter().rev() {
            error = Some(Box::new(Said(text, error)));
        }
        assert_eq!(with_causes(&*error.unwrap()), expected);
    }
}
