//! Event log, inbox, outbox, attachments.
