//! From an HTTP method and a path to one RPC: a table built once, indexed by the number of segments.
use std::sync::Arc;

use http::Method as Verb;

use crate::{
    contract::{Binding, Contracts, Method},
    peer::Peer,
    template::Path,
};

#[derive(Debug, Default)]
pub(crate) struct Table {
    by_length: Vec<Vec<Route>>,
    /// Those that end in `**`.
    open: Vec<Route>,
}

#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) method: Arc<Method>,
    pub(crate) binding: Binding,
    pub(crate) peer: Peer,
}

pub(crate) enum Found<'t> {
    /// The route, and the values its path holds.
    Route(&'t Route, Vec<(&'t str, String)>),
    /// The path exists, for these methods.
    OtherMethods(Vec<&'t Verb>),
    Nothing,
}

impl Table {
    pub(crate) fn new(contracts: &Contracts, owner: impl Fn(&str) -> Option<Peer>) -> Self {
        let mut table = Table::default();
        for method in &contracts.methods {
            let Some(peer) = owner(method.rpc.parent_service().full_name()) else { continue };
            let method = Arc::new(method.clone());
            for binding in &method.bindings {
                let route = Route {
                    method: Arc::clone(&method),
                    binding: binding.clone(),
                    peer: peer.clone(),
                };
                table.routes(&route).push(route);
            }
        }
        for routes in table.by_length.iter_mut().chain([&mut table.open]) {
            routes.sort_by(|a, b| a.binding.template.segments.cmp(&b.binding.template.segments));
        }
        table
    }

    pub(crate) fn find(&self, verb: &Verb, path: &str) -> Found<'_> {
        let Some(path) = Path::parse(path) else { return Found::Nothing };
        let mut others = vec![];
        let fixed = self.by_length.get(path.len()).into_iter().flatten();
        for route in fixed.chain(&self.open) {
            let Binding { verb: ours, template, .. } = &route.binding;
            if !template.fits(&path) {
                continue;
            }
            if ours == verb {
                return Found::Route(route, template.captures(&path));
            }
            if !others.contains(&ours) {
                others.push(ours);
            }
        }
        if others.is_empty() { Found::Nothing } else { Found::OtherMethods(others) }
    }

    fn routes(&mut self, route: &Route) -> &mut Vec<Route> {
        let template = &route.binding.template;
        if template.is_open() {
            return &mut self.open;
        }
        let length = template.segments.len();
        if self.by_length.len() <= length {
            self.by_length.resize_with(length + 1, Vec::new);
        }
        &mut self.by_length[length]
    }
}
