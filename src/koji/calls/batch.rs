//! Several questions in one request.

use super::Query;
use crate::koji::shape::ShapeError;
use crate::koji::xmlrpc::{Call, Fault, Value};
use crate::koji::{HubClient, HubError};

/// Questions that are put to a hub together: as many as may be in one request each.
///
/// A fault, or an answer that cannot be read, is an error of that question alone, and is had with its answer.
#[derive(Clone, Debug)]
pub struct Batch {
    hub: HubClient,
    calls: Vec<Call>,
}

/// The place of an answer among those of its batch.
#[derive(Debug)]
pub struct Asked<T> {
    place: usize,
    decode: fn(&Value) -> Result<T, ShapeError>,
}

/// The answers to a batch, each of which is taken once.
#[derive(Debug)]
pub struct Answers {
    hub: HubClient,
    /// With the method that was asked for.
    all: Vec<(String, Result<Value, Fault>)>,
}

impl Batch {
    /// For a hub, empty.
    pub const fn new(hub: HubClient) -> Self {
        Self { hub, calls: Vec::new() }
    }

    /// Adds a question.
    pub fn add<T>(&mut self, query: Query<T>) -> Asked<T> {
        self.calls.push(query.call);
        Asked { place: self.calls.len() - 1, decode: query.decode }
    }

    /// Asks. Nothing is asked for nothing.
    ///
    /// # Errors
    /// [`HubError`] of the first request that got no answer; the remaining ones are then not made.
    pub async fn send(self) -> Result<Answers, HubError> {
        let methods: Vec<String> = self.calls.iter().map(|call| call.method.clone()).collect();
        let all = methods.into_iter().zip(self.hub.multi(self.calls).await?).collect();
        Ok(Answers { hub: self.hub, all })
    }

    /// The same, so that no answer is older than that to the first question. Requests run beside each other: where
    /// there are several, the first question is asked before them.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_in_order(mut self) -> Result<Answers, HubError> {
        if self.calls.len() <= self.hub.settings().batch {
            return self.send().await;
        }
        let others = Self { calls: self.calls.split_off(1), ..self.clone() };
        let mut answers = self.send().await?;
        answers.all.extend(others.send().await?.all);
        Ok(answers)
    }

    /// The same with a request for each question, one after the other: for answers that are long.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_apart(self) -> Result<Answers, HubError> {
        let mut answers = Answers { hub: self.hub.clone(), all: Vec::with_capacity(self.calls.len()) };
        for call in self.calls {
            let one = Self { hub: self.hub.clone(), calls: vec![call] };
            answers.all.extend(one.send().await?.all);
        }
        Ok(answers)
    }
}

impl Answers {
    /// The answer to a question of the batch. (There is none to one of another batch, or it is of something else.)
    ///
    /// # Errors
    /// [`HubError`]: its fault, or what is wrong with its shape.
    pub fn take<T>(&mut self, asked: Asked<T>) -> Result<T, HubError> {
        let (method, answer) = match self.all.get_mut(asked.place) {
            Some((method, answer)) => (method.as_str(), std::mem::replace(answer, Ok(Value::Nil))),
            None => ("", Ok(Value::Nil)),
        };
        let at = || self.hub.at(method);
        let value = answer.map_err(|fault| HubError::from_fault(at(), fault))?;
        (asked.decode)(&value).map_err(|error| HubError::Shape { at: at(), source: error.in_answer_to(method) })
    }
}
