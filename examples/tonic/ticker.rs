//! A gRPC stream that ends when the token of its request ends.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, stream};
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Request, Response, Status};
use tower::{Service, service_fn};
use tower_bearer::{Claims, Validator};

use super::greeter::Text;
use super::while_valid::while_valid;

/// The service `northwind.Ticker` with the method `Watch`, which sends a message each second.
#[derive(Clone, Debug)]
pub(crate) struct Ticker {
    pub(crate) validator: Validator,
}

pub(crate) const WATCH: PathAndQuery = PathAndQuery::from_static("/northwind.Ticker/Watch");

impl NamedService for Ticker {
    const NAME: &'static str = "northwind.Ticker";
}

impl Service<http::Request<Body>> for Ticker {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let validator = self.validator.clone();
        let watch = service_fn(move |request| watch(validator.clone(), request));
        Box::pin(async move {
            Ok(if request.uri().path() == WATCH.path() {
                tonic::server::Grpc::new(Text).server_streaming(watch, request).await
            } else {
                Status::unimplemented("the only method is Watch").into_http()
            })
        })
    }
}

type Item = Result<String, Status>;

async fn watch(validator: Validator, request: Request<String>) -> Result<Response<impl Stream<Item = Item>>, Status> {
    let claims: Claims = request.extensions().get().cloned().ok_or_else(|| Status::internal("no BearerLayer"))?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        if while_valid(&validator, &claims, tick(&sender)).await.is_none() {
            let ended = Status::unauthenticated("the access token has expired or was revoked");
            drop(sender.send(Err(ended)).await);
        }
    });
    Ok(Response::new(stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) })))
}

/// Sends messages until the client closes the stream.
async fn tick(sender: &mpsc::Sender<Item>) {
    let mut second = 0_u64;
    while sender.send(Ok(format!("second {second}"))).await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        second = second.saturating_add(1);
    }
}
