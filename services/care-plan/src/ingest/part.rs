//! One part of a load: found by its identifiers, made or brought up to date, or refused alone.
use caseward_api::types::v1::{self as types, IngestOutcome, ingest_outcome::Action};
use caseward_core::{Error, Result, Violation, Violations, check, data};
use caseward_store::{Resource, Tx, identifier, transition};
use sea_orm::entity::prelude::*;

use crate::case;

/// What is wrong with a part that nothing could find again.
pub(super) const NEEDED: &str = "a loaded part needs at least one";

/// A resource below a case that can be loaded.
pub(super) trait Part: Resource {
    type Wire: Sync;
    /// What it hangs on.
    type Parent: Sync;
    /// Its name in field paths.
    const FIELD: &'static str;

    fn identifiers(from: &Self::Wire) -> &[types::Identifier];
    /// Where its identifiers count: one may number the same thing in several cases.
    fn collection(parent: &Self::Parent) -> String;
    /// The row as the source has it, over the one that is here.
    fn take(
        tx: &Tx,
        parent: &Self::Parent,
        before: Option<&Self::Model>,
        from: &Self::Wire,
    ) -> Result<Self::Model>;
    /// Refuses what only other rows can tell to be wrong.
    fn check(tx: &Tx, row: &Self::Model) -> impl Future<Output = Result<()>> + Send;
    /// Whether the source has it in another state.
    fn moved(row: &Self::Model, before: &Self::Model) -> bool;
    /// Takes back the state that the source has.
    fn keep(row: &mut Self::Model, before: &Self::Model);
    fn make(
        tx: &Tx,
        case: &case::Model,
        row: Self::Model,
    ) -> impl Future<Output = Result<Self::Model>> + Send;
    fn amend(
        tx: &Tx,
        case: &case::Model,
        row: Self::Model,
        before: &Self::Model,
        from: &Self::Wire,
    ) -> impl Future<Output = Result<Self::Model>> + Send;
}

/// What became of a part, and its row unless it was refused.
pub(super) struct Loaded<M> {
    pub outcome: IngestOutcome,
    pub row: Option<M>,
}

/// Loads one part. What is wrong with it costs this part only; every refusal comes before the first write.
pub(super) async fn load<P>(
    tx: &Tx,
    case: &case::Model,
    parent: &P::Parent,
    from: &P::Wire,
) -> Result<Loaded<P::Model>>
where
    P: Part<Model: Clone + PartialEq + Sync>,
{
    settle::<P>(store::<P>(tx, case, parent, from).await)
}

/// The outcome of what was done or refused; an error that is nobody's fault ends the load.
pub(super) fn settle<E: Resource>(done: Result<(Action, E::Model)>) -> Result<Loaded<E::Model>> {
    match done {
        Ok((action, row)) => {
            let outcome = data::taken(action, E::name(&row));
            Ok(Loaded { outcome, row: Some(row) })
        }
        Err(Error::Invalid(violations)) => {
            Ok(Loaded { outcome: data::refused(violations), row: None })
        }
        Err(err) => Err(err),
    }
}

async fn store<P>(
    tx: &Tx,
    case: &case::Model,
    parent: &P::Parent,
    from: &P::Wire,
) -> Result<(Action, P::Model)>
where
    P: Part<Model: Clone + PartialEq + Sync>,
{
    let kind = P::collection(parent);
    let identity = Identity::of(tx, P::FIELD, &kind, P::identifiers(from)).await?;
    let before = match identity.known {
        Some(id) => {
            let select = P::of(&tx.ctx).filter(P::ID.eq(id));
            Some(caseward_store::get(tx, select, P::FIELD).await?)
        }
        None => None,
    };
    let mut row = P::take(tx, parent, before.as_ref(), from)?;
    if let Some(before) = &before
        && P::moved(&row, before)
        && moved_here(tx, P::id(before)).await?
    {
        P::keep(&mut row, before);
    }
    let (action, row) = match before {
        Some(before) if row == before => (Action::Unchanged, before),
        Some(before) => {
            P::check(tx, &row).await?;
            (Action::Updated, P::amend(tx, case, row, &before, from).await?)
        }
        None => {
            P::check(tx, &row).await?;
            (Action::Created, P::make(tx, case, row).await?)
        }
    };
    identifier::claim(tx, &kind, P::id(&row), &identity.unclaimed).await?;
    Ok((action, row))
}

/// Whom the identifiers of a part name.
pub(super) struct Identity {
    pub known: Option<Uuid>,
    /// Those that name nobody yet.
    pub unclaimed: Vec<data::Identifier>,
}

impl Identity {
    pub async fn of(
        tx: &Tx,
        field: &str,
        kind: &str,
        from: &[types::Identifier],
    ) -> Result<Identity> {
        let field = format!("{field}.identifiers");
        let mut bad = Violations::default();
        let all = data::identifiers(&field, from, 20, &mut bad).0;
        if all.is_empty() && bad.is_empty() {
            bad.add(&field, NEEDED);
        }
        bad.finish()?;
        let (mut known, mut unclaimed) = (vec![], vec![]);
        for each in all {
            match identifier::find(tx, kind, std::slice::from_ref(&each)).await?.first() {
                Some(id) => known.push(*id),
                None => unclaimed.push(each),
            }
        }
        known.dedup();
        if known.len() > 1 {
            return Err(Error::invalid(field, "belong to more than one resource"));
        }
        Ok(Identity { known: known.pop(), unclaimed })
    }
}

/// Whether somebody other than this source took a step: from then on, the state is ours.
pub(super) async fn moved_here(tx: &Tx, entity: Uuid) -> Result<bool> {
    #[expect(clippy::disallowed_methods, reason = "the resource was found through its own scope")]
    let step = transition::Entity::find()
        .filter(transition::Column::Organization.eq(tx.ctx.organization()))
        .filter(transition::Column::Entity.eq(entity))
        .filter(transition::Column::Actor.ne(tx.ctx.subject()))
        .one(&tx.db)
        .await?;
    Ok(step.is_some())
}

/// Those of `fields` that differ from `before`, each taken alone.
pub(super) fn changed<M: Clone + PartialEq>(
    fields: &[&str],
    before: &M,
    take: impl Fn(&mut M, &[&str]) -> Result<()>,
) -> Vec<String> {
    let differs = |field: &&&str| {
        let mut row = before.clone();
        take(&mut row, &[**field]).is_ok() && row != *before
    };
    fields.iter().filter(differs).map(|field| (*field).to_owned()).collect()
}

/// The state that the source has, or what is meant where it names none.
pub(super) fn state<S>(
    field: &str,
    number: i32,
    unspecified: S,
    known: fn(i32) -> Result<S>,
) -> Result<S> {
    if number == 0 {
        return Ok(unspecified);
    }
    known(number).map_err(|_| Error::invalid(field, "holds a value that is not known"))
}

/// The outcome of each of `count` parts whose parent was refused.
pub(super) fn lost(count: usize, parent: &str) -> Vec<IngestOutcome> {
    let why = "was refused, and this part with it".to_owned();
    vec![data::refused(vec![Violation { field: parent.to_owned(), why }]); count]
}

/// Why the part is in its state, as the source says; what we know stays where it says nothing.
pub(super) fn reason(field: &str, slot: &mut String, from: &str) -> Result<()> {
    if from.is_empty() {
        return Ok(());
    }
    let mut bad = Violations::default();
    bad.put(slot, &format!("{field}.state_reason"), check::text(from, 0..=1000));
    bad.finish()
}
