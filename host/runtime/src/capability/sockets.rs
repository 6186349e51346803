//! `wasi:sockets`: linked, because every standard library asks for it, and denied.
//!
//! No grant opens it: a byte that leaves the host leaves through `wasi:http` and the door.
//! wasmtime-wasi's own context refuses TCP, UDP and name lookups unless told otherwise, and
//! nothing here tells it otherwise.

use wasmtime::Result;
use wasmtime::component::Linker;
use wasmtime_wasi::p2::bindings::sockets::{
    instance_network, ip_name_lookup, network, tcp, tcp_create_socket, udp, udp_create_socket,
};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsCtxView};

use crate::state::State;

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    let options = network::LinkOptions::default();
    instance_network::add_to_linker::<State, WasiSockets>(linker, State::sockets)?;
    network::add_to_linker::<State, WasiSockets>(linker, &options, State::sockets)?;
    ip_name_lookup::add_to_linker::<State, WasiSockets>(linker, State::sockets)?;
    tcp::add_to_linker::<State, WasiSockets>(linker, State::sockets)?;
    tcp_create_socket::add_to_linker::<State, WasiSockets>(linker, State::sockets)?;
    udp::add_to_linker::<State, WasiSockets>(linker, State::sockets)?;
    udp_create_socket::add_to_linker::<State, WasiSockets>(linker, State::sockets)
}

impl State {
    fn sockets(&mut self) -> WasiSocketsCtxView<'_> {
        WasiSocketsCtxView { ctx: self.sockets.get_or_insert_default(), table: &mut self.table }
    }
}
