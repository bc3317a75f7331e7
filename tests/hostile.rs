//! Clients that mean harm, and those that are only broken in the same way: the server refuses them, serves the others, and is as it was.

mod connections;
mod heads;
mod input;
mod log;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::SOON;

fn address(url: &str) -> &str {
    url.strip_prefix("http://").unwrap()
}

/// What comes back for these bytes up to the end of the connection, which the server has to end. What was answered before a reset counts.
async fn raw(url: &str, sent: impl AsRef<[u8]>) -> String {
    let mut connection = TcpStream::connect(address(url)).await.unwrap();
    // The server may have closed it before all is sent.
    let _ = connection.write_all(sent.as_ref()).await;
    rest(connection).await
}

/// What else comes before the end.
async fn rest(mut connection: TcpStream) -> String {
    let mut read = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = connection.read(&mut buffer).await {
            read.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::time::timeout(SOON, reading).await.expect("the server ends the connection");
    String::from_utf8_lossy(&read).into_owned()
}

/// The statuses of the answers, in order.
fn statuses(answers: &str) -> Vec<u16> {
    answers.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().unwrap()).collect()
}
