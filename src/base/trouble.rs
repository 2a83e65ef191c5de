//! Somebody who does not answer: said once, and once more when it is over.

/// What was last said about somebody who does not answer.
#[derive(Clone, Debug, Default)]
pub struct Trouble(Option<String>);

impl Trouble {
    /// Takes note of an error. Whether it is another one than the last, so that it is to be said.
    pub fn is_new(&mut self, error: &str) -> bool {
        let new = self.0.as_deref() != Some(error);
        self.0 = Some(error.to_owned());
        new
    }

    /// Takes note of an answer. Whether there was none before.
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
