//! What a request needs of a URL.

/// The parts of `http://host:port/path`.
pub(crate) struct Url {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
}

/// Takes a URL apart. The error says what is wrong with it.
pub(crate) fn parse(url: &str) -> Result<Url, String> {
    let rest = match url.split_once("://") {
        Some(("http", rest)) => rest,
        Some((scheme, _)) => return Err(format!("{scheme} is not known here, only http")),
        None => url,
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    // The colons inside of the brackets of an IPv6 address are not before a port.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let number = port.parse();
            let number = number.map_err(|_| format!("{port:?} is no port from 0 to 65535"))?;
            (host, number)
        }
        _ => (authority, 80),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err("the URL names no host".to_owned());
    }
    let path = path.split('#').next().unwrap_or_default();
    Ok(Url {
        host: host.to_owned(),
        port,
        path: format!("/{path}"),
    })
}
