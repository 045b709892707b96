//! Templates: the row, its states, its rules.

use caseward_api::notification::v1 as pb;
use caseward_core::{
    Ctx, Error, Id, Kind, Result, Time, Violations,
    check::{self, Checked},
    data::Json,
};
use caseward_store::{Resource, Scope, Transition, Tx};
use prost_types::FieldMask;
use sea_orm::{QueryOrder, entity::prelude::*};
use serde::{Deserialize, Serialize};

use crate::{channel::Channel, text};

mod variant;
mod wire;

pub(crate) use variant::{FALLBACK, PORTAL};

#[derive(Debug)]
pub struct Template;
impl Kind for Template {
    const COLLECTION: &'static str = "templates";
}
pub type TemplateId = Id<Template>;

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "template")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TemplateId,
    pub organization: Uuid,
    pub key: String,
    pub version: i32,
    pub display_name: String,
    pub variables: Json<Vec<Variable>>,
    pub variants: Json<Vec<Variant>>,
    pub state: State,
    pub approver: String,
    pub approved_at: Option<Time>,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: i64,
}
caseward_core::confidential!(Model);

/// A value a text may name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    pub name: String,
    /// The number of the wire's `PhiClass`.
    pub phi_class: i32,
    pub description: String,
    pub required: bool,
}

/// A text in one language, for one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    pub language: String,
    pub channel: Channel,
    pub subject: String,
    pub body: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum State {
    #[sea_orm(string_value = "DRAFT")]
    Draft,
    #[sea_orm(string_value = "APPROVED")]
    Approved,
    #[sea_orm(string_value = "RETIRED")]
    Retired,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Draft => "DRAFT",
            State::Approved => "APPROVED",
            State::Retired => "RETIRED",
        }
    }

    /// Where a template can go from here.
    fn next(self) -> &'static [State] {
        match self {
            State::Draft => &[State::Approved, State::Retired],
            State::Approved => &[State::Retired],
            State::Retired => &[],
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
            reason = "the one place where a query of templates begins"
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

impl Model {
    /// A draft with every field of `from` checked.
    pub fn draft(ctx: &Ctx, from: &pb::Template) -> Result<Self> {
        let now = ctx.now();
        let mut row = Model {
            id: TemplateId::generate(),
            organization: ctx.organization(),
            key: String::new(),
            version: 1,
            display_name: String::new(),
            variables: Json::default(),
            variants: Json::default(),
            state: State::Draft,
            approver: String::new(),
            approved_at: None,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        let mut bad = Violations::default();
        bad.put(&mut row.key, "template.key", key(&from.key));
        for field in WRITABLE {
            row.take(field, from, &mut bad);
        }
        row.check_names(&mut bad);
        bad.finish()?;
        Ok(row)
    }

    fn take(&mut self, field: &str, from: &pb::Template, bad: &mut Violations) {
        let path = &format!("template.{field}");
        match field {
            "display_name" => {
                bad.put(&mut self.display_name, path, check::text(&from.display_name, 1..=200));
            }
            "variables" => self.variables = variables(path, &from.variables, bad),
            "variants" => self.variants = variants(path, &from.variants, bad),
            _ => bad.add("update_mask", format!("`{field}` cannot be set")),
        }
    }

    /// Every text names only what is declared.
    fn check_names(&self, bad: &mut Violations) {
        for (n, variant) in self.variants.0.iter().enumerate() {
            for (field, source) in [("subject", &variant.subject), ("body", &variant.body)] {
                let path = format!("template.variants[{n}].{field}");
                match text::names(source) {
                    Err(why) => bad.add(path, why),
                    Ok(names) => {
                        for name in names.iter().filter(|name| self.declared(name).is_none()) {
                            bad.add(&path, format!("names `{name}`, which is not declared"));
                        }
                    }
                }
            }
        }
    }
}

/// The fields that a caller may set on a draft, as the mask names them.
const WRITABLE: [&str; 3] = ["display_name", "variables", "variants"];

fn key(value: &str) -> Checked<String> {
    if value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return check::text(value, 1..=100);
    }
    Err("wants a-z, 0-9 and `-` only".to_owned())
}

/// A code of what a message is for has the spelling of a key.
pub(crate) fn purpose(value: &str) -> Checked<String> {
    key(value)
}

fn variables(
    path: &str,
    from: &[pb::TemplateVariable],
    bad: &mut Violations,
) -> Json<Vec<Variable>> {
    let all = check::list(path, from, 0..=50, bad, |from, bad| {
        let name = bad.take("name", variable(&from.name));
        let class = bad.take("phi_class", check::known::<pb::PhiClass>(from.phi_class));
        let description = bad.take("description", check::text(&from.description, 0..=300));
        let (name, phi_class, description) = (name?, class?.into(), description?);
        Some(Variable { name, phi_class, description, required: from.required })
    });
    for (n, var) in all.iter().enumerate() {
        if all[..n].iter().any(|earlier| earlier.name == var.name) {
            bad.add(path, format!("declares `{}` twice", var.name));
        }
    }
    Json(all)
}

fn variable(name: &str) -> Checked<String> {
    let spelled = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && name.starts_with(|c: char| c.is_ascii_lowercase());
    match name {
        PORTAL => Err("is given to every text and cannot be declared".to_owned()),
        name if spelled => check::text(name, 1..=50),
        _ => Err("wants a-z, 0-9 and `_`, beginning with a letter".to_owned()),
    }
}

fn variants(path: &str, from: &[pb::TemplateVariant], bad: &mut Violations) -> Json<Vec<Variant>> {
    let all = check::list(path, from, 1..=60, bad, |from, bad| {
        let language = bad.take("language", check::code(&from.language, 2..=35));
        let channel = bad.take("channel", Channel::checked(from.channel));
        let least = usize::from(channel != Some(Channel::Sms));
        let subject = bad.take("subject", check::text(&from.subject, least..=300));
        let body = bad.take("body", check::text(&from.body, 1..=20_000));
        Some(Variant { language: language?, channel: channel?, subject: subject?, body: body? })
    });
    for (n, one) in all.iter().enumerate() {
        let same = |other: &Variant| {
            other.channel == one.channel && other.language.eq_ignore_ascii_case(&one.language)
        };
        if all[..n].iter().any(same) {
            bad.add(path, "holds a language and channel twice");
        }
    }
    if !all.is_empty() && !all.iter().any(|v| v.language.eq_ignore_ascii_case(FALLBACK)) {
        bad.add(path, "wants at least one text in English");
    }
    Json(all)
}

pub async fn get(scope: &Scope, id: TemplateId) -> Result<Model> {
    caseward_store::get(scope, Entity::of(&scope.ctx).filter(Column::Id.eq(id)), id).await
}

/// The templates that a caller asks for.
pub fn asked(ctx: &Ctx, ask: &pb::ListTemplatesRequest) -> Result<Select<Entity>> {
    let wanted = match ask.key.as_str() {
        "" => Ok(None),
        wanted => key(wanted).map(Some).map_err(|why| Error::invalid("key", why)),
    };
    let states = check::choices("states", &ask.states, |state| {
        check::known::<pb::template::State>(state).map(State::try_from)
    });
    let (wanted, states) = check::all((wanted, states))?;
    let mut select = Entity::of(ctx);
    if let Some(key) = wanted {
        select = select.filter(Column::Key.eq(key));
    }
    if !states.is_empty() {
        let states = states.into_iter().collect::<Result<Vec<State>>>()?;
        select = select.filter(Column::State.is_in(states));
    }
    Ok(select)
}

/// The version of `key` that is in use.
pub(crate) async fn in_use(scope: &Scope, key: &str) -> Result<Option<Model>> {
    let select = Entity::of(&scope.ctx)
        .filter(Column::Key.eq(key))
        .filter(Column::State.eq(State::Approved))
        .order_by_desc(Column::Version);
    Ok(select.one(&scope.db).await?)
}

pub async fn create(tx: Tx, mut row: Model) -> Result<Model> {
    let newest = Entity::of(&tx.ctx)
        .filter(Column::Key.eq(&row.key))
        .order_by_desc(Column::Version)
        .one(&tx.db)
        .await?;
    row.version = newest.map_or(1, |newest| newest.version + 1);
    let row = caseward_store::insert::<Entity>(&tx, row).await?;
    log(&tx, &row, "");
    let event = pb::TemplateCreated { template: row.id.to_string(), revision: row.revision };
    tx.emit(row.id, row.revision, &event);
    Ok(row)
}

pub async fn update(tx: Tx, id: TemplateId, from: pb::Template, mask: FieldMask) -> Result<Model> {
    let before = get(&tx, id).await?;
    caseward_store::expect(id, before.revision, &from.etag)?;
    if before.state != State::Draft {
        return Err(Error::precondition(
            "TEMPLATE_IN_USE",
            "only a draft can be changed; create the next version",
        ));
    }
    let mut row = before.clone();
    let mut bad = Violations::default();
    for field in check::masked(&mask, &WRITABLE)? {
        row.take(field, &from, &mut bad);
    }
    row.check_names(&mut bad);
    bad.finish()?;
    let changes = [
        ("display_name", row.display_name != before.display_name),
        ("variables", row.variables != before.variables),
        ("variants", row.variants != before.variants),
    ];
    let changed_fields: Vec<String> = changes
        .iter()
        .filter(|(_, differs)| *differs)
        .map(|(field, _)| (*field).to_owned())
        .collect();
    if changed_fields.is_empty() {
        return Ok(before);
    }
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    let event = pb::TemplateUpdated {
        template: row.id.to_string(),
        revision: row.revision,
        changed_fields,
    };
    tx.emit(row.id, row.revision, &event);
    Ok(row)
}

/// Takes a draft into use, once no text for a channel that is not secured names what it must not carry.
pub async fn approve(tx: Tx, id: TemplateId, etag: String) -> Result<Model> {
    let row = get(&tx, id).await?;
    caseward_store::expect(id, row.revision, &etag)?;
    let row = enter(row, State::Approved)?;
    if let Some(variant) = row.variants.0.iter().find(|variant| !row.may_carry(variant)) {
        return Err(Error::precondition(
            "PHI_NOT_ALLOWED",
            format!(
                "the text in {} for {} names health information, which that channel must not carry",
                variant.language,
                variant.channel.name()
            ),
        ));
    }
    if let Some(earlier) = in_use(&tx, &row.key).await? {
        let earlier =
            caseward_store::update::<Entity>(&tx, enter(earlier, State::Retired)?).await?;
        retired(&tx, &earlier);
    }
    let approver = tx.ctx.subject().to_owned();
    let row = Model { approver, approved_at: Some(tx.ctx.now()), ..row };
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    log(&tx, &row, "DRAFT");
    let event = pb::TemplateApproved { template: row.id.to_string(), revision: row.revision };
    tx.emit(row.id, row.revision, &event);
    Ok(row)
}

pub async fn retire(tx: Tx, id: TemplateId, etag: String) -> Result<Model> {
    let row = get(&tx, id).await?;
    caseward_store::expect(id, row.revision, &etag)?;
    let row = caseward_store::update::<Entity>(&tx, enter(row, State::Retired)?).await?;
    retired(&tx, &row);
    Ok(row)
}

fn retired(tx: &Tx, row: &Model) {
    let from = if row.approved_at.is_some() { "APPROVED" } else { "DRAFT" };
    log(tx, row, from);
    let event = pb::TemplateRetired { template: row.id.to_string(), revision: row.revision };
    tx.emit(row.id, row.revision, &event);
}

fn enter(row: Model, to: State) -> Result<Model> {
    if row.state.next().contains(&to) {
        return Ok(Model { state: to, ..row });
    }
    let allowed = row.state.next().iter().map(|state| state.name()).collect();
    Err(Error::State { name: row.id.to_string(), state: row.state.name(), allowed })
}

fn log(tx: &Tx, row: &Model, from: &'static str) {
    let (name, to) = (row.id.to_string(), row.state.name());
    tx.log(Transition { entity: row.id.uuid(), name, from, to, ..Default::default() });
}
