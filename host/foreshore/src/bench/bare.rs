//! Requests as bare as they can be made: one kept connection of hyper's, no pool, no limits.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A connection.
pub(super) struct Bare {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Bare {
    pub(super) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_string() })
    }

    /// Posts JSON and reads the whole answer, which has to be a 200.
    pub(super) async fn post(&mut self, path: &str, json: &str) -> anyhow::Result<()> {
        self.post_reading(path, &[], json, |_| {}).await
    }

    /// As [`Self::post`], with more headers; `read` is shown each piece when it comes.
    pub(super) async fn post_reading(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        json: &str,
        mut read: impl FnMut(&[u8]),
    ) -> anyhow::Result<()> {
        let mut request = http::Request::post(path)
            .header(http::header::HOST, &self.host)
            .header(http::header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(json.to_owned())))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        ensure!(answer.status() == http::StatusCode::OK, "{path} was answered {}", answer.status());
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame?.data_ref() {
                read(data);
            }
        }
        Ok(())
    }
}
