//! Measures requests over loopback HTTP: all servers run on one thread, whose CPU time is read, the load generator on another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use crate::candidates::{Candidate, Tokens};
use crate::statistics::{ROUNDS, Ratio, cpu_seconds};

/// The ratios of one candidate to the first, which has no authentication.
pub struct Outcome {
    pub server_cpu: Ratio,
    pub requests: Ratio,
}

const CONNECTIONS: usize = 32;
const SLICE: Duration = Duration::from_millis(120);

#[derive(Clone, Copy)]
struct Sample {
    cpu_each: f64,
    per_second: f64,
}

pub fn measure(candidates: &[Candidate], tokens: &Tokens) -> anyhow::Result<Vec<Outcome>> {
    let server = Server::start(candidates)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let request = |token: &String| request(token);
    let prepared = |candidate: &Candidate| Arc::new(tokens.texts(candidate.distinct).iter().map(request).collect());
    let requests: Vec<Arc<Vec<Vec<u8>>>> = candidates.iter().map(prepared).collect();
    let mut rounds: Vec<Vec<Sample>> = Vec::new();
    for round in 0..=ROUNDS {
        let mut samples = vec![Sample { cpu_each: 0.0, per_second: 0.0 }; candidates.len()];
        for turn in 0..candidates.len() {
            let at = (turn + round) % candidates.len();
            samples[at] = runtime.block_on(sample(&server, server.addresses[at], &requests[at], round))?;
        }
        rounds.push(samples);
    }
    // The first round is a warm-up.
    let rounds = &rounds[1..];
    Ok((0..candidates.len())
        .map(|at| Outcome {
            server_cpu: Ratio::from_samples(rounds.iter().map(|round| round[at].cpu_each / round[0].cpu_each)),
            requests: Ratio::from_samples(rounds.iter().map(|round| round[at].per_second / round[0].per_second)),
        })
        .collect())
}

/// The thread that serves every candidate, each at its own address; only one has requests at a time.
struct Server {
    addresses: Vec<SocketAddr>,
    cpu_requests: mpsc::UnboundedSender<oneshot::Sender<f64>>,
}

impl Server {
    fn start(candidates: &[Candidate]) -> anyhow::Result<Self> {
        let routers: Vec<_> = candidates.iter().map(|candidate| candidate.router.clone()).collect();
        let (cpu_requests, mut received) = mpsc::unbounded_channel::<oneshot::Sender<f64>>();
        let (ready, addresses) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                for router in routers {
                    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                    ready.send(listener.local_addr().expect("an address")).expect("the receiver exists");
                    tokio::spawn(async move { axum::serve(listener, router).await });
                }
                while let Some(reply) = received.recv().await {
                    let _ = reply.send(cpu_seconds());
                }
            });
        });
        let addresses = candidates.iter().map(|_| addresses.recv()).collect::<Result<_, _>>()?;
        Ok(Self { addresses, cpu_requests })
    }

    /// Returns the CPU time of the serving thread.
    async fn cpu(&self) -> anyhow::Result<f64> {
        let (reply, seconds) = oneshot::channel();
        self.cpu_requests.send(reply)?;
        Ok(seconds.await?)
    }
}

async fn sample(
    server: &Server,
    address: SocketAddr,
    requests: &Arc<Vec<Vec<u8>>>,
    round: usize,
) -> anyhow::Result<Sample> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        connections.push(stream);
    }
    let (start, cpu) = (Instant::now(), server.cpu().await?);
    let clients: Vec<_> = connections
        .into_iter()
        .enumerate()
        .map(|(number, stream)| {
            let first = round * 4_001 + number * 97;
            tokio::spawn(client(stream, Arc::clone(requests), first, start + SLICE))
        })
        .collect();
    let mut done = 0_usize;
    for client in clients {
        done += client.await??;
    }
    let (spent, elapsed) = (server.cpu().await? - cpu, start.elapsed().as_secs_f64());
    Ok(Sample { cpu_each: spent / done as f64, per_second: done as f64 / elapsed })
}

/// Sends sequential requests on one connection, and returns the number of responses.
async fn client(
    mut stream: TcpStream,
    requests: Arc<Vec<Vec<u8>>>,
    first: usize,
    until: Instant,
) -> anyhow::Result<usize> {
    let (mut done, mut next, mut response) = (0, first, vec![0; 4096]);
    while Instant::now() < until {
        next = (next + 379) % requests.len();
        stream.write_all(&requests[next]).await?;
        let mut length = 0;
        while !response[..length].ends_with(b"\r\n\r\nhello") {
            let read = stream.read(&mut response[length..]).await?;
            anyhow::ensure!(
                read > 0,
                "the server closed the connection: {}",
                String::from_utf8_lossy(&response[..length])
            );
            length += read;
        }
        anyhow::ensure!(response.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&response[..length]));
        done += 1;
    }
    Ok(done)
}

fn request(token: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n").into_bytes()
}
