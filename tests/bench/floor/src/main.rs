//! The compiled floor of `bench-serving`: HTTP, JSON and onnxruntime on one thread, and nothing
//! else. `floor MODEL LIBRARY` prints its port as JSON when ready; LIBRARY is the onnxruntime that
//! the Python wheel carries, so that every server runs the same kernels.
//!
//! `/trivial` answers at once, which shows what the load generator can drive.

use std::cell::RefCell;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::rc::Rc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use ort::session::Session;
use ort::value::Tensor;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::signal::unix::{signal, SignalKind};
use tokio::task::LocalSet;

type Fault = Box<dyn Error>;

/// Numbers of a tensor in row-major order, flat or nested in the body.
struct Numbers(Vec<f32>);

struct Collect<'a>(&'a mut Vec<f32>);

impl<'de> DeserializeSeed<'de> for Collect<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Collect<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a number or a list of them")
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.0.push(value as f32);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.0.push(value as f32);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.0.push(value as f32);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Collect(self.0))?.is_some() {}
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut found = Vec::new();
        Collect(&mut found).deserialize(from)?;
        Ok(Numbers(found))
    }
}

#[derive(Deserialize)]
struct Input {
    shape: Vec<usize>,
    data: Numbers,
}

#[derive(Deserialize)]
struct Asked {
    inputs: Vec<Input>,
}

#[derive(Serialize)]
struct Output<T: Serialize> {
    name: &'static str,
    datatype: &'static str,
    shape: [usize; 1],
    data: T,
}

#[derive(Serialize)]
struct Answer {
    model_name: &'static str,
    model_version: &'static str,
    outputs: (Output<Vec<i64>>, Output<Vec<f32>>),
}

fn predict(session: &mut Session, body: &[u8]) -> Result<Vec<u8>, Fault> {
    let asked: Asked = serde_json::from_slice(body)?;
    let input = asked.inputs.into_iter().next().ok_or("no input")?;
    let rows = *input.shape.first().ok_or("no shape")?;
    let matrix = Tensor::from_array((input.shape, input.data.0))?;
    let found = session.run(ort::inputs![matrix])?;
    let (_, labels) = found[0].try_extract_tensor::<i64>()?;
    let (_, both) = found[1].try_extract_tensor::<f32>()?;
    let answer = Answer {
        model_name: "cancer",
        model_version: "v1",
        outputs: (
            Output { name: "label", datatype: "INT64", shape: [rows], data: labels.to_vec() },
            Output {
                name: "probability",
                datatype: "FP64",
                shape: [rows],
                data: both.iter().skip(1).step_by(2).copied().collect(),
            },
        ),
    };
    Ok(serde_json::to_vec(&answer)?)
}

async fn answer(
    session: Rc<RefCell<Session>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let trivial = request.uri().path() == "/trivial";
    let (status, body) = match request.into_body().collect().await {
        Err(fault) => (400, fault.to_string().into_bytes()),
        Ok(_) if trivial => (200, b"{}".to_vec()),
        Ok(whole) => match predict(&mut session.borrow_mut(), &whole.to_bytes()) {
            Ok(body) => (200, body),
            Err(fault) => (400, fault.to_string().into_bytes()),
        },
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

async fn serve(session: Rc<RefCell<Session>>) -> Result<(), Fault> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{{\"http\": {}}}", listener.local_addr()?.port());
    let mut ended = signal(SignalKind::terminate())?;
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = ended.recv() => return Ok(()),
        };
        stream.set_nodelay(true)?;
        let session = session.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| answer(session.clone(), request));
            // A client that hangs up is no fault of the floor.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn main() -> Result<(), Fault> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("usage: floor MODEL LIBRARY")?;
    let library = arguments.next().ok_or("usage: floor MODEL LIBRARY")?;
    let environment = ort::init_from(library)?.build()?;
    let session = Session::builder(&environment)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .commit_from_file(model)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(Rc::new(RefCell::new(session))))
}
