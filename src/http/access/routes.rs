//! What each route needs.

use axum::http::Method;

use crate::keys::Scope;

/// What a request needs to be answered where the server has keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Nothing,
    /// A key, whatever it allows.
    Key,
    Scope(Scope),
}

/// Pages and states that tell nothing of what the server holds.
const OPEN: &[&str] = &["/livez", "/readyz", "/", "/playground/{name}", "/docs", "/docs/", "/docs/{*rest}", "/openapi.json"];

/// Methods and patterns of routes. What is not here needs `admin`, so that a route that was forgotten is closed.
const SCOPES: &[(&str, &str, Scope)] = &[
    ("POST", "/v1/complete", Scope::Complete),
    ("POST", "/v1/score", Scope::Complete),
    ("POST", "/v1/retrieve", Scope::Complete),
    ("POST", "/v1/completions", Scope::Complete),
    ("POST", "/v1/embeddings", Scope::Complete),
    ("GET", "/v1/models", Scope::Complete),
    ("GET", "/v1/models/{id}", Scope::Complete),
    ("GET", "/v1/info", Scope::Complete),
    ("GET", "/metrics", Scope::Metrics),
    ("GET", "/v1/documents", Scope::Ingest),
    ("POST", "/v1/documents", Scope::Ingest),
    ("GET", "/v1/documents/{id}", Scope::Ingest),
    ("PUT", "/v1/documents/{id}", Scope::Ingest),
    ("DELETE", "/v1/documents/{id}", Scope::Ingest),
    ("GET", "/v1/documents/{id}/chunks", Scope::Ingest),
    ("POST", "/v1/documents/delete", Scope::Ingest),
    // A document may be called `delete`.
    ("GET", "/v1/documents/delete", Scope::Ingest),
    ("PUT", "/v1/documents/delete", Scope::Ingest),
    ("DELETE", "/v1/documents/delete", Scope::Ingest),
    ("GET", "/v1/tasks", Scope::Ingest),
    ("GET", "/v1/tasks/{id}", Scope::Ingest),
    ("GET", "/v1/tasks/{id}/events", Scope::Ingest),
    ("POST", "/v1/tasks/{id}/cancel", Scope::Ingest),
    ("GET", "/v1/collections", Scope::Ingest),
    ("GET", "/v1/collections/{name}", Scope::Ingest),
    ("POST", "/v1/collections", Scope::Admin),
    ("PATCH", "/v1/collections/{name}", Scope::Admin),
    ("DELETE", "/v1/collections/{name}", Scope::Admin),
    ("POST", "/v1/collections/{name}/index", Scope::Admin),
];

/// What a request of `method` to the route of `pattern` needs; a request that no route takes has no pattern.
pub fn need(method: &Method, pattern: Option<&str>) -> Need {
    let Some(pattern) = pattern else { return Need::Key };
    if OPEN.contains(&pattern) {
        return Need::Nothing;
    }
    // A route that answers GET answers HEAD as well.
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let listed = SCOPES.iter().find(|(known, route, _)| (*known, *route) == (method, pattern));
    Need::Scope(listed.map_or(Scope::Admin, |&(_, _, scope)| scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_in_the_table() {
        let document = serde_json::to_value(crate::http::document()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        for (path, item) in paths {
            for method in item.as_object().unwrap().keys() {
                let listed = SCOPES.iter().any(|(known, route, _)| known.eq_ignore_ascii_case(method) && route == path);
                assert!(listed != OPEN.contains(&path.as_str()), "{method} {path}");
            }
        }
    }

    #[test]
    fn what_is_not_listed_needs_admin() {
        let scope = |method: Method, pattern| need(&method, Some(pattern));
        assert_eq!(scope(Method::HEAD, "/v1/info"), Need::Scope(Scope::Complete));
        assert_eq!(scope(Method::DELETE, "/v1/info"), Need::Scope(Scope::Admin));
        assert_eq!(scope(Method::GET, "/v1/forgotten"), Need::Scope(Scope::Admin));
        assert_eq!(scope(Method::POST, "/livez"), Need::Nothing);
        assert_eq!(need(&Method::GET, None), Need::Key);
    }
}
