//! What records are found by: names, words, codes, places, each one row, so that every filter is an index.
use caseward_core::{
    Ctx, Id, Result,
    data::{Address, Concept},
};
use caseward_store::Tx;
use sea_orm::{
    ActiveValue::Set,
    entity::prelude::*,
    sea_query::{Query, SelectStatement},
};

#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "term")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization: Uuid,
    /// The collection of the record.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub field: String,
    /// Bytes, not text: so a prefix is a range whatever the collation of the database.
    #[sea_orm(primary_key, auto_increment = false)]
    pub value: Vec<u8>,
    #[sea_orm(primary_key, auto_increment = false)]
    pub record: Uuid,
    /// The record that the value names, where it names one, for joins.
    pub target: Option<Uuid>,
}
caseward_core::confidential!(Model);

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// How many rows one statement writes.
const CHUNK: usize = 1000;

/// The terms of one record.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Terms(Vec<(&'static str, String, Option<Uuid>)>);

impl Terms {
    /// A name it goes by.
    pub fn name(&mut self, name: &str) {
        self.exact("name", &name.to_lowercase());
    }

    /// Words that a person may look for.
    pub fn words(&mut self, text: &str) {
        for word in words(text) {
            self.exact("word", &word);
        }
    }

    /// The codes of `concepts`.
    pub fn codes(&mut self, field: &'static str, concepts: &[Concept]) {
        for coding in concepts.iter().flat_map(|concept| &concept.codings) {
            self.exact(field, &coding.code);
        }
    }

    /// The words of `concepts`.
    pub fn concept_words(&mut self, concepts: &[Concept]) {
        for concept in concepts {
            self.words(&concept.text);
            concept.codings.iter().for_each(|coding| self.words(&coding.display));
        }
    }

    /// The postal code of an address.
    pub fn postal(&mut self, address: &Address) {
        self.exact("postal_code", &digits(&address.postal_code));
    }

    /// Records it names.
    pub fn records<K>(&mut self, field: &'static str, ids: &[Id<K>])
    where
        K: caseward_core::Kind,
    {
        for id in ids {
            self.add(field, id.uuid().to_string(), Some(id.uuid()));
        }
    }

    /// A value as it is.
    pub fn exact(&mut self, field: &'static str, value: &str) {
        if !value.is_empty() {
            self.add(field, value.to_owned(), None);
        }
    }

    fn add(&mut self, field: &'static str, value: String, target: Option<Uuid>) {
        let term = (field, value, target);
        if let Err(place) = self.0.binary_search(&term) {
            self.0.insert(place, term);
        }
    }
}

/// The records of `kind` whose `field` is `value`, for use within a scoped query.
pub fn exactly(ctx: &Ctx, kind: &str, field: &str, value: &str) -> SelectStatement {
    of(ctx, kind, field).and_where(Column::Value.eq(value.as_bytes().to_vec())).to_owned()
}

/// The records of `kind` whose `field` begins with `prefix`, for use within a scoped query.
pub fn beginning(ctx: &Ctx, kind: &str, field: &str, prefix: &str) -> SelectStatement {
    // No UTF-8 holds this byte, so nothing that begins so lies beyond.
    let end = [prefix.as_bytes(), &[0xff]].concat();
    of(ctx, kind, field)
        .and_where(Column::Value.gte(prefix.as_bytes().to_vec()))
        .and_where(Column::Value.lt(end))
        .to_owned()
}

fn of(ctx: &Ctx, kind: &str, field: &str) -> SelectStatement {
    Query::select()
        .column(Column::Record)
        .from(Entity)
        .and_where(Column::Organization.eq(ctx.organization()))
        .and_where(Column::Kind.eq(kind))
        .and_where(Column::Field.eq(field))
        .to_owned()
}

/// Writes the terms of records that have none.
pub async fn put(
    tx: &Tx,
    kind: &'static str,
    records: impl IntoIterator<Item = (Uuid, Terms)>,
) -> Result<()> {
    let mut rows = records
        .into_iter()
        .flat_map(|(record, terms)| terms.0.into_iter().map(move |term| (record, term)))
        .map(|(record, (field, value, target))| ActiveModel {
            organization: Set(tx.ctx.organization()),
            kind: Set(kind.to_owned()),
            field: Set(field.to_owned()),
            value: Set(value.into_bytes()),
            record: Set(record),
            target: Set(target),
        })
        .collect::<Vec<_>>()
        .into_iter()
        .peekable();
    while rows.peek().is_some() {
        Entity::insert_many(rows.by_ref().take(CHUNK)).exec_without_returning(&tx.db).await?;
    }
    Ok(())
}

/// Takes their terms from `records`.
pub async fn remove(tx: &Tx, kind: &'static str, records: &[Uuid]) -> Result<()> {
    Entity::delete_many()
        .filter(Column::Organization.eq(tx.ctx.organization()))
        .filter(Column::Kind.eq(kind))
        .filter(Column::Record.is_in(records.iter().copied()))
        .exec(&tx.db)
        .await?;
    Ok(())
}

/// The words of a text as they are looked for.
pub fn words(text: &str) -> Vec<String> {
    let split = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    split.map(|word| word.to_lowercase().chars().take(100).collect()).collect()
}

/// The digits of a postal code, which is written with and without a dash.
pub fn digits(postal_code: &str) -> String {
    postal_code.chars().filter(char::is_ascii_digit).collect()
}
