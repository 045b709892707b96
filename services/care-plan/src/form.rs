//! Questionnaires: forms in versions, kept as given, with what their answers score and raise.
use aws_lc_rs::digest::{SHA256, digest};
use caseward_api::careplan::v1::{self as pb, questionnaire::State as Wire};
use caseward_api::types::v1::ingest_outcome::Action;
use caseward_core::{
    Ctx, Error, Id, Kind, Machine, Page, Result, Time, Violation, Violations, check,
    data::{self, Identifier, Json},
};
use caseward_store::{Resource, Scope, Store, Transition, Tx, identifier};
use sea_orm::entity::prelude::*;

use crate::{
    assessment_score,
    form_rule::{Critical, Rule},
    questionnaire::Questionnaire,
    score::{self, Instrument, REGISTRY},
};

#[derive(Debug)]
pub struct Form;
impl Kind for Form {
    const COLLECTION: &'static str = "questionnaires";
}
pub type FormId = Id<Form>;

/// The kind of a form's identifiers.
const IDENTIFIED: &str = "questionnaire";

/// How long the url of a form is, at most.
pub const URL: usize = 2000;

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "questionnaire")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: FormId,
    pub organization: Uuid,
    pub url: String,
    pub version: String,
    pub title: String,
    pub language: String,
    /// The FHIR JSON, byte for byte.
    pub json: String,
    /// SHA-256 of `json`.
    pub content_hash: String,
    pub scoring_rules: Json<Vec<Rule>>,
    pub critical_items: Json<Vec<Critical>>,
    pub state: State,
    pub identifiers: Json<Vec<Identifier>>,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: i64,
}
caseward_core::confidential!(Model);

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum State {
    #[sea_orm(string_value = "ACTIVE")]
    Active,
    #[sea_orm(string_value = "RETIRED")]
    Retired,
}

/// What may be done to a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Retire,
}

impl Machine for State {
    type Step = Step;
    const STEPS: &'static [Step] = &[Step::Retire];

    fn after(self, step: Step) -> Option<State> {
        match (self, step) {
            (State::Active, Step::Retire) => Some(State::Retired),
            (State::Retired, Step::Retire) => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            State::Active => "ACTIVE",
            State::Retired => "RETIRED",
        }
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

impl Resource for Entity {
    const ID: Column = Column::Id;
    const REVISION: Column = Column::Revision;

    fn of(ctx: &Ctx) -> Select<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where a query of questionnaires begins"
        )]
        Self::find().filter(Column::Organization.eq(ctx.organization()))
    }
    fn id(row: &Model) -> Uuid {
        row.id.uuid()
    }
    fn name(row: &Model) -> String {
        row.id.to_string()
    }
    fn patient(_: &Model) -> Option<Uuid> {
        None
    }
    fn version(row: &mut Model) -> (&mut i64, &mut Time) {
        (&mut row.revision, &mut row.updated_at)
    }
}

/// The same violations, each under the field that holds the JSON.
pub fn within(path: &str, violations: Vec<Violation>, bad: &mut Violations) {
    for Violation { field, why } in violations {
        let separator = if field.is_empty() { "" } else { "." };
        bad.add(format!("{path}{separator}{field}"), why);
    }
}

impl Model {
    /// The form as it can be asked.
    pub(crate) fn questionnaire(&self) -> Result<Questionnaire> {
        Questionnaire::parse(&self.json).map_err(|violations| {
            let mut bad = Violations::default();
            within("questionnaire.json", violations, &mut bad);
            Error::Invalid(bad.into())
        })
    }

    /// What people call the instrument.
    pub fn instrument(&self) -> Result<String> {
        let known = score::recognised(&self.questionnaire()?);
        Ok(assessment_score::named(self, known.map(|instrument| instrument.id)))
    }

    /// A new row with every field of `from` checked.
    fn draft(ctx: &Ctx, id: FormId, from: &pb::Questionnaire) -> Result<Self> {
        let mut bad = Violations::default();
        let parsed = Questionnaire::parse(&from.json);
        let parsed =
            parsed.map_err(|violations| within("questionnaire.json", violations, &mut bad)).ok();
        let said = |key: &str| {
            let value = parsed.as_ref().and_then(|form| form.resource.get(key)?.as_str());
            value.unwrap_or_default().to_owned()
        };
        let mut row = Model {
            id,
            organization: ctx.organization(),
            url: format!("urn:uuid:{}", id.uuid()),
            version: "1".to_owned(),
            title: String::new(),
            language: String::new(),
            json: from.json.clone(),
            content_hash: sha256(from.json.as_bytes()).iter().map(|b| format!("{b:02x}")).collect(),
            scoring_rules: Json::default(),
            critical_items: Json::default(),
            state: State::Active,
            identifiers: data::identifiers(
                "questionnaire.identifiers",
                &from.identifiers,
                20,
                &mut bad,
            ),
            created_at: ctx.now(),
            updated_at: ctx.now(),
            revision: 1,
        };
        for (slot, key, longest) in [(&mut row.url, "url", URL), (&mut row.version, "version", 100)]
        {
            let path = format!("questionnaire.json.{key}");
            match said(key) {
                value if value.is_empty() => {}
                value => bad.put(slot, &path, check::text(&value, 1..=longest)),
            }
        }
        bad.put(&mut row.title, "questionnaire.json.title", check::text(&said("title"), 0..=500));
        bad.put(
            &mut row.language,
            "questionnaire.json.language",
            check::code(&said("language"), 0..=35),
        );
        if let Some(form) = &parsed {
            row.scoring_rules = Rule::all(form, &from.scoring_rules, &mut bad);
            row.critical_items = Critical::all(form, &from.critical_items, &mut bad);
        }
        bad.finish()?;
        Ok(row)
    }
}

fn sha256(content: &[u8]) -> Vec<u8> {
    digest(&SHA256, content).as_ref().to_vec()
}

pub async fn get(scope: &Scope, id: FormId) -> Result<Model> {
    caseward_store::get(scope, Entity::of(&scope.ctx).filter(Column::Id.eq(id)), id).await
}

pub async fn list(
    scope: &Scope,
    url: Option<String>,
    states: Vec<State>,
    identifier: Option<Identifier>,
    page: &Page,
) -> Result<(Vec<Model>, String)> {
    let mut select = Entity::of(&scope.ctx);
    if let Some(url) = url {
        select = select.filter(Column::Url.eq(url));
    }
    if !states.is_empty() {
        select = select.filter(Column::State.is_in(states));
    }
    if let Some(one) = identifier {
        select =
            select.filter(Column::Id.is_in(identifier::find(scope, IDENTIFIED, &[one]).await?));
    }
    caseward_store::page(scope, select, page).await
}

pub async fn create(tx: Tx, from: pb::Questionnaire) -> Result<Model> {
    ship(&tx).await?;
    let row = Model::draft(&tx.ctx, FormId::generate(), &from)?;
    identifier::claim(&tx, IDENTIFIED, row.id.uuid(), &row.identifiers.0).await?;
    insert(&tx, row).await
}

/// Stores a form from another system, unless it is there. What was stored under a url and version never changes:
/// answers were given to its words.
pub async fn load(tx: &Tx, from: &pb::Questionnaire) -> Result<(Action, FormId)> {
    let mut draft = Model::draft(&tx.ctx, FormId::generate(), from)?;
    if from.state() == Wire::Retired {
        draft.state = State::Retired;
    }
    let version = Entity::of(&tx.ctx).filter(Column::Url.eq(&draft.url));
    let version = version.filter(Column::Version.eq(&draft.version)).one(&tx.db).await?;
    let found = identifier::find(tx, IDENTIFIED, &draft.identifiers.0).await?;
    let identified = match found.first() {
        Some(id) => Entity::of(&tx.ctx).filter(Column::Id.eq(*id)).one(&tx.db).await?,
        None => None,
    };
    match version.or(identified) {
        Some(known) if known.content_hash == draft.content_hash => {
            return Ok((Action::Unchanged, known.id));
        }
        // Its versions share what other systems know a form by; the newest has it.
        Some(known) if known.url == draft.url && known.version != draft.version => {
            identifier::replace(tx, IDENTIFIED, known.id.uuid(), &[]).await?;
        }
        Some(_) => {
            let why = "says something else than what is stored under its identifier, or its url and version";
            return Err(Error::invalid(
                "questionnaire.json",
                format!("{why}; give it a new version"),
            ));
        }
        None => {}
    }
    identifier::claim(tx, IDENTIFIED, draft.id.uuid(), &draft.identifiers.0).await?;
    Ok((Action::Created, insert(tx, draft).await?.id))
}

async fn insert(tx: &Tx, row: Model) -> Result<Model> {
    let same = Entity::of(&tx.ctx)
        .filter(Column::Url.eq(&row.url))
        .filter(Column::Version.eq(&row.version));
    if same.one(&tx.db).await?.is_some() {
        return Err(Error::AlreadyExists("a questionnaire with this url and version".to_owned()));
    }
    let row = caseward_store::insert::<Entity>(tx, row).await?;
    log(tx, &row, "");
    let (questionnaire, revision) = (row.id.to_string(), row.revision);
    tx.emit(row.id, revision, &pb::QuestionnaireCreated { questionnaire, revision });
    Ok(row)
}

pub async fn retire(tx: Tx, id: FormId, etag: String) -> Result<Model> {
    let mut row = get(&tx, id).await?;
    caseward_store::expect(id, row.revision, &etag)?;
    let before = row.state;
    row.state = before.take(Step::Retire, id)?;
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    log(&tx, &row, before.label());
    let (questionnaire, revision) = (id.to_string(), row.revision);
    tx.emit(id, revision, &pb::QuestionnaireRetired { questionnaire, revision });
    Ok(row)
}

fn log(tx: &Tx, row: &Model, from: &'static str) {
    tx.log(Transition {
        entity: row.id.uuid(),
        name: row.id.to_string(),
        from,
        to: row.state.label(),
        ..Default::default()
    });
}

// === shipped ===

/// The id of a shipped instrument: the same at every try, so that two who ship at once cannot make two of it; before
/// all others in a list.
fn shipped_id(ctx: &Ctx, instrument: &Instrument) -> FormId {
    let (organization, id, version) = (ctx.organization(), instrument.id, instrument.version);
    let mut bytes = [0; 16];
    let hash = sha256(format!("{organization}/{id}/{version}").as_bytes());
    bytes[6..].copy_from_slice(&hash[..10]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().into()
}

/// The shipped instruments that the organization of the caller does not have yet.
async fn missing(scope: &Scope) -> Result<Vec<&'static Instrument>> {
    let ids = REGISTRY.iter().map(|instrument| shipped_id(&scope.ctx, instrument));
    let present = Entity::of(&scope.ctx).filter(Column::Id.is_in(ids));
    let present: Vec<FormId> =
        caseward_store::list(scope, present).await?.iter().map(|row| row.id).collect();
    let absent = |instrument: &&Instrument| !present.contains(&shipped_id(&scope.ctx, instrument));
    Ok(REGISTRY.iter().filter(absent).collect())
}

async fn ship(tx: &Tx) -> Result<()> {
    for instrument in missing(tx).await? {
        let json = instrument.questionnaire.to_owned();
        let from = pb::Questionnaire { json, ..Default::default() };
        insert(tx, Model::draft(&tx.ctx, shipped_id(&tx.ctx, instrument), &from)?).await?;
    }
    Ok(())
}

/// Gives the organization of the caller the shipped instruments, when it first looks for forms.
pub async fn provide(store: &Store, ctx: &Ctx) -> Result<()> {
    if missing(&store.read(ctx)).await?.is_empty() {
        return Ok(());
    }
    match store.task(ctx, |tx| async move { ship(&tx).await }).await {
        // Another process did it at the same moment.
        Err(Error::AlreadyExists(_)) => Ok(()),
        done => done,
    }
}

// === wire ===

impl State {
    /// The state that a list asks for.
    pub fn known(number: i32) -> Result<Self> {
        match Wire::try_from(number) {
            Ok(Wire::Active) => Ok(State::Active),
            Ok(Wire::Retired) => Ok(State::Retired),
            Ok(Wire::Unspecified) | Err(_) => {
                Err(Error::invalid("states", "holds a value that is not known"))
            }
        }
    }
}

impl From<State> for Wire {
    fn from(state: State) -> Self {
        match state {
            State::Active => Wire::Active,
            State::Retired => Wire::Retired,
        }
    }
}

impl From<Model> for pb::Questionnaire {
    fn from(row: Model) -> Self {
        let Model {
            id,
            organization: _,
            url,
            version,
            title,
            language,
            json,
            content_hash,
            scoring_rules,
            critical_items,
            state,
            identifiers,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::Questionnaire {
            name: id.to_string(),
            url,
            version,
            title,
            language,
            json,
            content_hash,
            scoring_rules: data::wire(scoring_rules),
            critical_items: data::wire(critical_items),
            state: Wire::from(state).into(),
            identifiers: data::wire(identifiers),
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}
