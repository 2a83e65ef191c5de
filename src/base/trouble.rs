//! Remembers an outage, so that it is logged once, and once more when it is over.

/// The last logged error of a service that does not answer.
#[derive(Clone, Debug, Default)]
pub struct Trouble(Option<String>);

impl Trouble {
    /// Notes an error. Returns `true` if it differs from the last one and should be logged.
    pub fn is_new(&mut self, error: &str) -> bool {
        let new = self.0.as_deref() != Some(error);
        self.0 = Some(error.to_owned());
        new
    }

    /// Notes an answer. Returns `true` if there was an error before it.
    pub fn is_over(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_said_once_and_its_end() {
        let mut trouble = Trouble::default();
        assert!(!trouble.is_over(), "nothing was wrong");
        assert!(trouble.is_new("refused"));
        assert!(!trouble.is_new("refused"));
        assert!(trouble.is_new("timed out"));
        assert!(trouble.is_over());
        assert!(!trouble.is_over());
        assert!(trouble.is_new("timed out"), "a new outage");
    }
}
