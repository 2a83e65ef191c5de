//! Publishes the log's events on NATS JetStream, for whoever builds on them.
//!
//! The stream says which event it had last, so nothing is stored here. JetStream may lose what it
//! has; the log has all of it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::patience::Patience;
use crate::base::clock;
use crate::bus::jetstream::{self, EventStream, OutgoingEvent};
use crate::bus::{Connection, JetStreamError, Server};
use crate::event::{Record, cloudevents};
use crate::log::{AnyLog, EventLog as _, LogError};
use crate::model::Seq;
use crate::telemetry::Metrics;

/// Most events that are sent before their acknowledgements are waited for.
const WAVE: usize = 256;
/// Most bytes of them, unless one event alone has more.
const WAVE_BYTES: usize = 8 << 20;
/// How long the loop waits for a new event before it shows that it is alive.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Name of the loop in the metrics.
const LOOP: &str = "event publisher";
/// Time after which a loop without any round counts as stalled.
const STALE: Duration = Duration::from_secs(120);
/// What a CloudEvent's headers and subject need of the largest message, in bytes.
const ENVELOPE: usize = 4_096;

/// Publishes events.
#[derive(Debug)]
pub struct EventPublisher {
    /// The log.
    pub log: AnyLog,
    /// Id of the log.
    pub log_id: String,
    /// The server.
    pub server: Server,
    /// The stream.
    pub stream: String,
    /// What the subjects of events begin with.
    pub subject: String,
    /// Whether an empty stream gets all events of the log.
    pub from_start: bool,
    /// The metrics.
    pub metrics: Metrics,
    /// Ends the loop.
    pub stop: CancellationToken,
}

/// Why a round failed.
enum Trouble {
    Stream(JetStreamError),
    Log(LogError),
}

impl From<JetStreamError> for Trouble {
    fn from(error: JetStreamError) -> Self {
        Self::Stream(error)
    }
}

impl EventPublisher {
    /// Publishes until told to stop. While the server or the database does not answer, events wait
    /// in the log.
    pub async fn run(self) {
        let alive = |patience: Patience| patience.keeping_alive(self.metrics.clone(), LOOP);
        let mut server = alive(Patience::new("NATS", "events wait in the log, all else goes on"));
        let mut database = alive(Patience::new("the database", "events are published later"));
        self.metrics.loop_begins(LOOP, STALE, clock::now());
        let (mut connection, mut through) = (None, None);
        while !self.stop.is_cancelled() {
            self.metrics.loop_went_round(LOOP, clock::now());
            let done = tokio::select! {
                () = self.stop.cancelled() => return,
                done = self.publish(&mut connection, &mut through, &mut server, &mut database) => done,
            };
            match done {
                Ok(()) => {}
                Err(Trouble::Stream(e)) => {
                    if let (Some(through), Ok(head)) = (through, self.head().await) {
                        self.metrics.events_behind(head.map_or(0, Seq::get).saturating_sub(through));
                    }
                    server.wait(&e, &self.stop).await;
                }
                Err(Trouble::Log(e)) => {
                    database.wait(&e, &self.stop).await;
                }
            }
        }
    }

    /// Looks where the stream is, and publishes from there until something fails.
    async fn publish(
        &self,
        kept: &mut Option<Connection>,
        through: &mut Option<u64>,
        server: &mut Patience,
        database: &mut Patience,
    ) -> Result<(), Trouble> {
        // "From now on" means from the start of the service, however long the server is away then.
        let begins = match *through {
            Some(begins) => begins,
            None if self.from_start => 0,
            None => self.head().await?.map_or(0, Seq::get),
        };
        *through = Some(begins);
        let connection = Connection::kept(kept, &self.server).await?;
        let mut stream = connection.events(&self.stream, &self.subject, &self.log_id).await?;
        let mut after = Seq::new(stream.through().unwrap_or(if self.from_start { 0 } else { begins }));
        *through = Some(after.map_or(0, Seq::get));
        loop {
            server.answered();
            let page = self.log.read(after, WAVE).await.map_err(|e| Trouble::Log(e.into()))?;
            database.answered();
            self.metrics.loop_went_round(LOOP, clock::now());
            let Some(last) = page.last() else {
                self.metrics.events_behind(0);
                let waited = tokio::time::timeout(LOOK_AGAIN, self.log.changed(after)).await;
                if let Ok(Err(e)) = waited {
                    return Err(Trouble::Log(e.into()));
                }
                continue;
            };
            let last = last.seq;
            for wave in waves(page, stream.limit().saturating_sub(ENVELOPE), &self.metrics) {
                self.send(&mut stream, &wave).await?;
            }
            after = Some(last);
            *through = Some(last.get());
            let head = self.head().await?.map_or(0, Seq::get);
            self.metrics.events_behind(head.saturating_sub(last.get()));
        }
    }

    async fn send(&self, stream: &mut EventStream, wave: &[OutgoingEvent]) -> Result<(), Trouble> {
        stream.publish(wave).await?;
        self.metrics.events_published(wave.len());
        Ok(())
    }

    async fn head(&self) -> Result<Option<Seq>, Trouble> {
        Ok(self.log.head().await.map_err(|e| Trouble::Log(e.into()))?.seq)
    }
}

/// Makes messages of records, in waves that are not too large. An event that the server does not take
/// is sent without its data: who needs them reads them from the log.
fn waves(page: Vec<Record>, limit: usize, metrics: &Metrics) -> Vec<Vec<OutgoingEvent>> {
    let (mut waves, mut bytes) = (vec![Vec::new()], 0);
    for record in page {
        let mut json = cloudevents::to_json(&record);
        if json.len() > limit {
            json = cloudevents::to_json_without_data(&record);
            metrics.event_shortened();
        }
        if bytes + json.len() > WAVE_BYTES && bytes > 0 {
            waves.push(Vec::new());
            bytes = 0;
        }
        bytes += json.len();
        let subject = jetstream::subject(&record.kind, &record.subject);
        let event = OutgoingEvent { seq: record.seq.get(), id: cloudevents::id_of(&record), subject, json };
        if let Some(wave) = waves.last_mut() {
            wave.push(event);
        }
    }
    waves
}
