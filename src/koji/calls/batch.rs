//! Batches: several questions in one request.

use super::Query;
use crate::koji::shape::ShapeError;
use crate::koji::xmlrpc::{Call, Fault, Value};
use crate::koji::{HubClient, HubError};

/// Questions that go to a hub together, in as few requests as the settings allow.
///
/// A fault or an unreadable answer fails only its own question. The caller sees the error when it
/// takes that question's answer.
#[derive(Clone, Debug)]
pub struct Batch {
    hub: HubClient,
    calls: Vec<Call>,
}

/// The place of an answer in its batch.
#[derive(Debug)]
pub struct Asked<T> {
    place: usize,
    decode: fn(&Value) -> Result<T, ShapeError>,
}

/// The answers to a batch. Each can be taken once.
#[derive(Debug)]
pub struct Answers {
    hub: HubClient,
    /// The answers, with the methods that were asked.
    all: Vec<(String, Result<Value, Fault>)>,
}

impl Batch {
    /// Returns an empty batch for a hub.
    pub const fn new(hub: HubClient) -> Self {
        Self { hub, calls: Vec::new() }
    }

    /// Adds a question.
    pub fn add<T>(&mut self, query: Query<T>) -> Asked<T> {
        self.calls.push(query.call);
        Asked { place: self.calls.len() - 1, decode: query.decode }
    }

    /// Sends the questions. An empty batch sends nothing.
    ///
    /// # Errors
    /// Returns the [`HubError`] of the first request without an answer. The remaining requests are
    /// not sent.
    pub async fn send(self) -> Result<Answers, HubError> {
        let methods: Vec<String> = self.calls.iter().map(|call| call.method.clone()).collect();
        let all = methods.into_iter().zip(self.hub.multi(self.calls).await?).collect();
        Ok(Answers { hub: self.hub, all })
    }

    /// Like [`send`](Self::send), but no answer is older than the first one. Requests run
    /// concurrently. If there are several, the first question is asked alone before the others.
    ///
    /// # Errors
    /// Fails in the same cases as [`send`](Self::send).
    pub async fn send_in_order(mut self) -> Result<Answers, HubError> {
        if self.calls.len() <= self.hub.settings().batch {
            return self.send().await;
        }
        let others = Self { calls: self.calls.split_off(1), ..self.clone() };
        let mut answers = self.send().await?;
        answers.all.extend(others.send().await?.all);
        Ok(answers)
    }

    /// Like [`send`](Self::send), but with one request per question, one after the other. This is
    /// for long answers.
    ///
    /// # Errors
    /// Fails in the same cases as [`send`](Self::send).
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
    /// Takes the answer to a question of this batch. Do not use it with a question of another
    /// batch: its answer is missing or belongs to another question.
    ///
    /// # Errors
    /// Returns a [`HubError`] if the answer is a fault or has the wrong shape.
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
