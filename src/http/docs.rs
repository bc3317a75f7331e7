//! The API's description: the document itself, and the Swagger page over it.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::app::App;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| super::document().to_json().expect("the description is plain JSON"));

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(description))
}

/// The Swagger page, which the description does not list.
pub fn pages() -> Router<Arc<App>> {
    // The validator's badge would load a picture from elsewhere.
    let config = Config::from("/openapi.json").validator_url("none").try_it_out_enabled(true).display_request_duration(true);
    SwaggerUi::new("/docs").config(config).into()
}

/// Describe the API
///
/// This description, in OpenAPI 3.1; `/docs` shows it as a page.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "Server",
    responses((status = 200, description = "The description", body = Object, example = json!({"openapi": "3.1.0"})))
)]
async fn description() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}
