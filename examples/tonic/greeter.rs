//! A gRPC service without generated code; its messages are plain text.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::NamedService;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tower::{Service, service_fn};
use tower_bearer::Claims;

/// The service `northwind.Greeter` with the method `Greet`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Greeter;

const GREET: &str = "/northwind.Greeter/Greet";

impl NamedService for Greeter {
    const NAME: &'static str = "northwind.Greeter";
}

impl Service<http::Request<Body>> for Greeter {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            Ok(match request.uri().path() {
                GREET => tonic::server::Grpc::new(Text).unary(service_fn(greet), request).await,
                _ => Status::unimplemented("the only method is Greet").into_http(),
            })
        })
    }
}

/// Reads the claims from the extensions of the request, where the layer inserts them.
async fn greet(request: Request<String>) -> Result<Response<String>, Status> {
    let claims: &Claims = request.extensions().get().ok_or_else(|| Status::internal("no BearerLayer"))?;
    let subject = claims.subject().unwrap_or("unknown");
    Ok(Response::new(format!("{}, {subject}", request.get_ref())))
}

/// Returns a request with or without a token.
pub(crate) fn request(token: Option<&str>, message: &str) -> Result<Request<String>, Status> {
    let mut request = Request::new(message.to_owned());
    if let Some(token) = token {
        let credential = format!("Bearer {token}").parse().map_err(|_| Status::invalid_argument("no token"))?;
        request.metadata_mut().insert("authorization", credential);
    }
    Ok(request)
}

/// Calls `Greet` with or without a token.
pub(crate) async fn call(channel: Channel, token: Option<&str>, greeting: &str) -> Result<String, Status> {
    let request = request(token, greeting)?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let response = client.unary(request, PathAndQuery::from_static(GREET), Text).await?;
    Ok(response.into_inner())
}

/// Messages are UTF-8 text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        String::from_utf8(bytes.into()).map(Some).map_err(|_| Status::invalid_argument("not UTF-8"))
    }
}
