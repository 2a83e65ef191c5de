//! Metrics of pages: requests, and the lag behind the log.

use prometheus::{HistogramVec, IntCounterVec, IntGauge};

use super::Metrics;
use super::register::{Register, count};

#[derive(Debug)]
pub(super) struct Web {
    requests: IntCounterVec,
    seconds: HistogramVec,
    lag_events: IntGauge,
    lag_seconds: IntGauge,
}

impl Web {
    pub(super) fn new(r: Register<'_>) -> Self {
        Self {
            requests: r.counters("koschei_web_requests_total", "Requests for pages.", &["page", "status"]),
            seconds: r.seconds_by("koschei_web_request_seconds", "Time to answer a request for a page.", &["page"]),
            lag_events: r.gauge("koschei_web_lag_events", "Events in the log that the pages do not show yet."),
            lag_seconds: r.gauge(
                "koschei_web_lag_seconds",
                "Lag of the pages behind the end of the log, by recorded time, or the time since the log stopped \
                    answering.",
            ),
        }
    }
}

impl Metrics {
    /// Counts a request for a page. `page` is the name of its kind.
    pub fn web_request(&self, page: &'static str, status: u16, seconds: f64) {
        self.0.web.requests.with_label_values(&[page, &status.to_string()]).inc();
        self.0.web.seconds.with_label_values(&[page]).observe(seconds);
    }

    /// Sets the lag of the pages behind the log.
    pub fn web_lag(&self, events: u64, seconds: i64) {
        self.0.web.lag_events.set(count(events));
        self.0.web.lag_seconds.set(seconds);
    }
}
