//! The API's description: the document itself, and the Swagger page over it.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::app::App;

/// What the Swagger page needs: its own files, the description, and requests to the server that it is from. It sets styles, and has pictures
/// in them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static DOCUMENT: LazyLock<String> = LazyLock::new(|| super::document().to_json().expect("the description is plain JSON"));

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(description))
}

/// The Swagger page, which the description does not list.
pub fn pages() -> Router<Arc<App>> {
    // The validator's badge would load a picture from elsewhere.
    let config = Config::from("/openapi.json").validator_url("none").try_it_out_enabled(true).display_request_duration(true);
    let router: Router<Arc<App>> = SwaggerUi::new("/docs").config(config).into();
    router.layer(SetResponseHeaderLayer::overriding(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)))
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
