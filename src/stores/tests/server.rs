//! A server on loopback that responds to commands as a test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::stores::{Redis, RedisBuilder};

/// What the server does with one command.
pub(super) enum Reply {
    /// Sends bytes of the protocol.
    Send(&'static str),
    /// Sends nothing, and reads on.
    Silence,
    /// Closes the connection.
    Close,
}

/// A running server.
pub(super) struct Server {
    pub(super) port: u16,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Starts a server. `reply` gets the number of the connection, from 1, and the words of the command.
    pub(super) async fn start(reply: impl Fn(usize, &[String]) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let (reply, count) = (Arc::new(reply), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst).saturating_add(1);
                tokio::spawn(serve(stream, number, Arc::clone(&reply)));
            }
        });
        Self { port, connections }
    }

    /// Returns settings for this server with the longest timeout, so that a busy machine changes no result.
    pub(super) fn builder(&self) -> RedisBuilder {
        Redis::builder(&format!("redis://127.0.0.1:{}", self.port)).with_timeout(std::time::Duration::from_secs(10))
    }

    pub(super) fn redis(&self) -> Redis {
        self.builder().build().expect("valid settings")
    }

    /// Returns how many connections were opened.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// The response to the check of the policy.
pub(super) const NO_EVICTION: &str = "*2\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n";

async fn serve(stream: TcpStream, number: usize, reply: Arc<impl Fn(usize, &[String]) -> Reply>) {
    let mut stream = BufReader::new(stream);
    while let Some(command) = read(&mut stream).await {
        match reply(number, &command) {
            Reply::Send(bytes) => stream.write_all(bytes.as_bytes()).await.expect("an open stream"),
            Reply::Silence => {}
            Reply::Close => return,
        }
    }
}

/// Reads an array of bulk strings.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let count = read_number(stream, '*').await?;
    let mut words = Vec::new();
    for _ in 0..count {
        let length = read_number(stream, '$').await?;
        let mut word = vec![0; length.saturating_add(2)];
        stream.read_exact(&mut word).await.ok()?;
        word.truncate(length);
        words.push(String::from_utf8(word).expect("text"));
    }
    Some(words)
}

async fn read_number(stream: &mut BufReader<TcpStream>, kind: char) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.trim_end().strip_prefix(kind)?.parse().ok()
}
