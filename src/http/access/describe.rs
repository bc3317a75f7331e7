//! What the API's description says of keys: the same for every route that needs one.

use axum::http::Method;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};

use super::routes::{Need, need};
use crate::http::openai;
use crate::http::openapi::PROBLEMS;
use crate::http::problem::Code;
use crate::keys::Scope;

/// Name of the scheme, which the page's button to enter a key shows.
const SCHEME: &str = "key";

/// What the layer before the routes may answer.
const ERRORS: &[Code] = &[Code::Unauthorized, Code::Forbidden, Code::RateLimited, Code::TimedOut];

/// What every operation may answer that changes the stores.
const WRITE_ERRORS: &[Code] = &[Code::InsufficientStorage];

/// Routes that answer by themselves while the model loads.
const ALWAYS: &[&str] = &["/livez", "/readyz"];

/// Adds the scheme, to each operation that needs a key its scope and the errors, and to each what a server answers that is loading.
pub fn describe(document: &mut OpenApi) {
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "A key that `retro keys create` made. A server that has no keys answers without one at the machine's own address.",
    ));
    document
        .components
        .get_or_insert_default()
        .security_schemes
        .insert(SCHEME.to_owned(), SecurityScheme::Http(scheme.build()).into());
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            let form = if openai::is_route(path) { &openai::ERRORS } else { &PROBLEMS };
            if let Need::Scope(scope) = need(&method, Some(path)) {
                operation.security = Some(vec![SecurityRequirement::new(SCHEME, [scope.as_str()])]);
                form.add(&mut operation.responses, ERRORS);
                if method != Method::GET && matches!(scope, Scope::Ingest | Scope::Admin) {
                    form.add(&mut operation.responses, WRITE_ERRORS);
                }
            }
            if !ALWAYS.contains(&path.as_str()) {
                form.add(&mut operation.responses, &[Code::Loading]);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [(Method::GET, get), (Method::PUT, put), (Method::POST, post), (Method::DELETE, delete), (Method::PATCH, patch)]
        .into_iter()
        .filter_map(|(method, operation)| operation.as_mut().map(|operation| (method, operation)))
}
