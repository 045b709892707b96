//! The notification service through its clients, in process, on both databases, with a mail server of its own.
mod channels;
mod delivery;
mod events;
mod inboxes;
mod patients;
mod suite;
mod templates;
