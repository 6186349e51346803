//! The server over real sockets: each kind of answer, as a client of it sees it.

mod any_script;
mod client;
mod demo;
mod failures;
mod library;
mod loading;
mod openai;
mod readme;
mod replies;
mod running;
