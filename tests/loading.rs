//! What a server answers before its model is there.

use std::sync::Arc;

use retro_server::app::App;
use retro_server::http;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::support::{ask, settings};

#[tokio::test]
async fn a_server_is_alive_before_it_is_ready() {
    let data = tempfile::tempdir().unwrap();
    let settings = settings(data.path(), &[]);
    let listener = TcpListener::bind(settings.listen).await.unwrap();
    let loading = http::Loading::begin(listener, &settings).unwrap();
    let url = format!("http://{}", loading.address());
    // One connection for all, which has to see the change.
    let client = reqwest::Client::builder().pool_max_idle_per_host(1).build().unwrap();
    assert_eq!(ask(client.get(format!("{url}/livez"))).await.ok(), json!({"status": "ok"}));
    for request in [
        client.get(format!("{url}/readyz")),
        client.get(format!("{url}/v1/info")),
        client.get(format!("{url}/metrics")),
        client.get(format!("{url}/openapi.json")),
        client.get(format!("{url}/nowhere")),
        client.post(format!("{url}/livez")),
        client.post(format!("{url}/v1/complete")).json(&json!({"prompt": "Tea is"})),
    ] {
        let answer = ask(request).await;
        assert_eq!((answer.status, answer.code()), (503, "loading"), "{answer:?}");
        assert!(answer.header("retry-after").parse::<u64>().is_ok());
    }

    let app = Arc::new(App::start(settings).await.expect("the server starts"));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = loading.serve(app);
    assert_eq!(ask(client.get(format!("{url}/readyz"))).await.ok(), json!({"status": "ready"}));
    let served = tokio::spawn(server.until(async { drop(stopped.await) }));
    let body = json!({"prompt": "Tea is", "max_tokens": 2});
    assert_eq!(ask(client.post(format!("{url}/v1/complete")).json(&body)).await.status, 200);
    stop.send(()).unwrap();
    served.await.unwrap().unwrap();
    assert!(reqwest::get(format!("{url}/livez")).await.is_err(), "nobody listens any more");
}
