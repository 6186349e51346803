//! The server over real sockets: each kind of answer, as a client of it sees it.

mod client;
mod replies;
