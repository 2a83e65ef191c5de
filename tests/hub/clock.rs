//! The hub's clock.

/// Microseconds since 1970.
pub type Micros = i64;

/// The wall clock, or a time that a test sets. No two readings are equal.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    fixed: Option<Micros>,
    offset: Micros,
    last: Micros,
}

impl Clock {
    pub fn now(&mut self) -> Micros {
        let at = self.fixed.unwrap_or_else(|| jiff::Timestamp::now().as_microsecond() + self.offset);
        self.last = at.max(self.last + 1);
        self.last
    }

    /// Notes that a transaction used times up to this one.
    pub fn passed(&mut self, at: Micros) {
        self.last = self.last.max(at);
    }

    /// Sets the clock to this time, until it is moved.
    pub fn fix(&mut self, at: Micros) {
        self.fixed = Some(at);
        self.last = at - 1;
    }

    pub fn advance(&mut self, by: std::time::Duration) {
        let by = Micros::try_from(by.as_micros()).unwrap();
        match &mut self.fixed {
            Some(at) => *at = (*at).max(self.last) + by,
            None => self.offset += by,
        }
    }
}
