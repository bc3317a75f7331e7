//! Bodies that come too slowly: whoever holds a connection has to send something on it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::problem::{ApiError, Code};

/// What has to come, or the end of the body, within the setting `body_seconds`: about 500 bytes a second with its default, which the slowest
/// line carries. Of a limit on idle time alone a byte now and then would make nothing.
const PIECE: usize = 16 << 10;

/// The layer: bodies are read at their pace or not at all.
pub async fn pace(State(most): State<Duration>, request: Request, next: Next) -> Response {
    let request = request.map(|body| Body::new(Paced { body, most, waited: Duration::ZERO, came: 0, waiting: None }));
    let mut response = next.run(request).await;
    if response.extensions().get::<ApiError>().is_some_and(|error| error.code == Code::SlowBody) {
        // The rest of the body may never come, and nothing after it can be read.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

struct Paced {
    body: Body,
    most: Duration,
    /// For the client, since the last piece: what the server takes over the bytes is not the client's time.
    waited: Duration,
    /// Bytes since the last piece.
    came: usize,
    /// Since when the client is waited for, and the end of its time.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl hyper::body::Body for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => {
                if let Some((since, _)) = self.waiting.take() {
                    self.waited += since.elapsed();
                }
                if let Some(Ok(frame)) = &frame {
                    self.came += frame.data_ref().map_or(0, Bytes::len);
                }
                if self.came >= PIECE {
                    (self.came, self.waited) = (0, Duration::ZERO);
                }
                Poll::Ready(frame)
            }
            Poll::Pending => {
                let left = self.most.saturating_sub(self.waited);
                let (_, end) = self.waiting.get_or_insert_with(|| {
                    let now = Instant::now();
                    (now, Box::pin(sleep_until(now + left)))
                });
                ready!(end.as_mut().poll(context));
                let seconds = self.most.as_secs();
                let detail = format!("less than {PIECE} bytes of the body came within {seconds} seconds (setting body_seconds)");
                Poll::Ready(Some(Err(axum::Error::new(ApiError::new(Code::SlowBody, detail)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream::{self, StreamExt};
    use http_body_util::BodyExt;
    use tokio::time::sleep;

    use super::*;

    const MOST: Duration = Duration::from_millis(400);

    fn paced(pieces: impl futures::Stream<Item = Bytes> + Send + 'static) -> Paced {
        let body = Body::from_stream(pieces.map(Ok::<_, Infallible>));
        Paced { body, most: MOST, waited: Duration::ZERO, came: 0, waiting: None }
    }

    /// So many pieces, each some milliseconds after the one before.
    fn slowly(pieces: usize, bytes: usize, milliseconds: u64) -> impl futures::Stream<Item = Bytes> + Send {
        stream::iter(0..pieces).then(move |_| async move {
            sleep(Duration::from_millis(milliseconds)).await;
            Bytes::from(vec![0; bytes])
        })
    }

    #[tokio::test]
    async fn a_body_has_to_come_on() {
        let (long, short) = (paced(slowly(60, PIECE, 10)), paced(slowly(9, 1, 10)));
        assert_eq!(long.collect().await.unwrap().to_bytes().len(), 60 * PIECE, "it took longer than one piece may");
        assert_eq!(short.collect().await.unwrap().to_bytes().len(), 9, "its end is enough");
        for body in [paced(stream::pending()), paced(slowly(1_000, 1, 10)), paced(slowly(2, PIECE, 10).chain(stream::pending()))]
        {
            let refused = ApiError::behind(&body.collect().await.unwrap_err()).expect("it was too slow");
            assert_eq!(refused.code, Code::SlowBody);
            assert!(refused.detail.contains("(setting body_seconds)"), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn the_servers_own_time_is_not_counted() {
        let mut body = paced(slowly(6, 1, 1));
        for _ in 0..6 {
            sleep(MOST / 2).await;
            body.frame().await.expect("a frame").expect("no error");
        }
        assert!(body.frame().await.is_none());
    }
}
