//! The RPC surface: open the request, do the work, answer.
mod inboxes;
mod messages;
mod templates;

pub(crate) use inboxes::Inboxes;
pub(crate) use messages::Messages;
pub(crate) use templates::Templates;

type Reply<T> = Result<tonic::Response<T>, tonic::Status>;
