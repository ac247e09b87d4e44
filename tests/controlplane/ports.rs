//! A port that is ours for as long as the control plane lives, whoever else starts one meanwhile.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

use super::Error;

/// A port of 127.0.0.1 held by a socket that is bound but never listens.
///
/// Asking the kernel for a free port and closing it again would leave a moment for somebody else to
/// take it. This socket stays open instead: the kernel gives its port to nobody who asks for any
/// port, yet lets the API server bind it too, since both say `SO_REUSEPORT` and belong to one user.
/// Connections go to whoever listens, which is the API server alone; it also finds its port
/// untouched after a restart.
#[derive(Debug)]
pub(super) struct ReservedPort {
    _socket: TcpSocket,
    port: u16,
}

impl ReservedPort {
    /// Takes some free port.
    pub(super) fn take() -> Result<Self, Error> {
        let reserve = || {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseport(true)?;
            socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
            let port = socket.local_addr()?.port();
            Ok(Self { _socket: socket, port })
        };
        reserve().map_err(Error::io("reserve a port on 127.0.0.1"))
    }

    /// Its number.
    pub(super) fn number(&self) -> u16 {
        self.port
    }
}
