//! Services that fit: by words, codes and network, the nearest first where a place is given.
use std::collections::HashMap;

use caseward_api::directory::v1 as pb;
use caseward_core::{Ctx, Error, Id, Kind, Name, Page, Result, Violations, check};
use caseward_store::{Resource, Scope};
use prost::Message;
use sea_orm::{
    Condition, QueryOrder, QuerySelect, QueryTrait,
    entity::prelude::*,
    sea_query::{Alias, ExprTrait, JoinType, Query},
};

use crate::{
    healthcare_service::{self, HealthcareService},
    location,
    organization::{self, Organization},
    parts::{self, Position},
    postal_code, term,
};

/// The mean radius of the earth in meters.
const EARTH: f64 = 6_371_008.8;

/// How near is near where the caller does not say.
const NEAR: i32 = 50_000;

/// A service, and where it is provided how far away.
#[derive(Debug)]
struct Hit {
    service: Uuid,
    location: Option<Uuid>,
    meters: f64,
    /// By what it is sorted, where not by how far it is.
    name: Vec<u8>,
}

impl Hit {
    /// Its place in the order of the search.
    fn key(&self) -> Vec<u8> {
        match self.location {
            None => [self.service.as_bytes().as_slice(), &self.name].concat(),
            Some(_) => [&self.meters.to_be_bytes(), self.service.as_bytes().as_slice()].concat(),
        }
    }

    /// Whether this place is nearer; of two that are equally far, one stays the one.
    fn is_before(&self, other: &Hit) -> bool {
        self.meters.total_cmp(&other.meters).then(self.location.cmp(&other.location)).is_lt()
    }
}

/// What a caller asks for.
#[derive(Debug)]
pub struct Asked {
    select: Select<healthcare_service::Entity>,
    place: Place,
    within: f64,
}

/// Where the services are to be.
#[derive(Debug)]
enum Place {
    Anywhere,
    Around(Position),
    /// Of a postal code that no map knows nothing is near.
    Nowhere,
}

pub fn asked(ctx: &Ctx, req: &pb::SearchServicesRequest) -> Result<Asked> {
    let mut bad = Violations::default();
    let select = fitting(ctx, req, &mut bad);
    let near = bad.take("near", parts::position(&req.near)).flatten();
    let within = match bad.take("within_meters", check::within(req.within_meters, 0..=500_000)) {
        None | Some(0) => NEAR,
        Some(meters) => meters,
    };
    let digits = term::digits(&req.postal_code);
    if !req.postal_code.is_empty() && !matches!(digits.len(), 5 | 9) {
        bad.add("postal_code", "wants 5 or 9 digits");
    }
    bad.finish()?;
    let place = match near {
        Some(near) => Place::Around(near),
        None if req.postal_code.is_empty() => Place::Anywhere,
        None => postal_code::middle(&req.postal_code).map_or(Place::Nowhere, Place::Around),
    };
    Ok(Asked { select, place, within: f64::from(within) })
}

pub async fn services(
    scope: &Scope,
    Asked { select, place, within }: Asked,
    page: &Page,
) -> Result<(Vec<pb::ServiceMatch>, String)> {
    let hits = match place {
        Place::Nowhere => vec![],
        Place::Anywhere => by_name(scope, select, page).await?,
        Place::Around(at) => by_distance(scope, select, at, within, page).await?,
    };
    let mut found = matches(scope, hits).await?;
    let next = page.close(&mut found, |(_, found)| found.encoded_len(), |(hit, _)| hit.key());
    Ok((found.into_iter().map(|(_, found)| found).collect(), next))
}

/// The services in use that fit all that was asked but the place.
fn fitting(
    ctx: &Ctx,
    req: &pb::SearchServicesRequest,
    bad: &mut Violations,
) -> Select<healthcare_service::Entity> {
    use healthcare_service::{Column, Entity};
    let kind = HealthcareService::COLLECTION;
    let mut found = vec![];
    let text = bad.take("text", check::text(&req.text, 0..=200)).unwrap_or_default();
    found.extend(term::words(&text).iter().map(|word| term::beginning(ctx, kind, "word", word)));
    for (field, code, longest) in [
        ("category", &req.category, 100),
        ("specialty", &req.specialty, 100),
        ("language", &req.language, 35),
    ] {
        let code = bad.take(field, check::optional(code, longest)).flatten();
        let code = code.map(|code| if field == "language" { code.to_lowercase() } else { code });
        found.extend(code.map(|code| term::exactly(ctx, kind, field, &code)));
    }
    let mut network = None;
    if !req.network.is_empty() {
        match Id::<Organization>::parse("network", &req.network) {
            Ok(id) => network = Some(id.uuid().to_string()),
            Err(_) => bad.add("network", format!("wants `{}`", Id::<Organization>::pattern())),
        }
    }
    found.extend(network.iter().map(|network| term::exactly(ctx, kind, "network", network)));
    if req.accepting_new_patients {
        found.push(match &network {
            Some(network) => term::exactly(ctx, kind, "accepting", network),
            None => term::beginning(ctx, kind, "accepting", ""),
        });
    }
    let in_use = Column::Status.eq(i32::from(pb::RecordStatus::Active));
    found.into_iter().fold(Entity::of(ctx).filter(in_use), |select, found| {
        select.filter(Column::Id.in_subquery(found))
    })
}

async fn by_name(
    scope: &Scope,
    mut select: Select<healthcare_service::Entity>,
    page: &Page,
) -> Result<Vec<Hit>> {
    use healthcare_service::Column;
    if let Some((id, name)) = page.after().and_then(<[u8]>::split_first_chunk::<16>) {
        let later = Condition::any()
            .add(Column::SortKey.gt(name))
            .add(Column::Id.gt(Uuid::from_bytes(*id)));
        // The first half says where an index begins to read.
        select = select.filter(Column::SortKey.gte(name)).filter(later);
    }
    let rows: Vec<(Uuid, Vec<u8>)> = select
        .select_only()
        .column(Column::Id)
        .column(Column::SortKey)
        .order_by_asc(Column::SortKey)
        .order_by_asc(Column::Id)
        .limit(page.limit())
        .into_tuple()
        .all(&scope.db)
        .await?;
    let hit = |(service, name)| Hit { service, location: None, meters: 0.0, name };
    Ok(rows.into_iter().map(hit).collect())
}

async fn by_distance(
    scope: &Scope,
    select: Select<healthcare_service::Entity>,
    center: Position,
    within: f64,
    page: &Page,
) -> Result<Vec<Hit>> {
    use location::{Column, Entity};
    let fitting = select.select_only().column(healthcare_service::Column::Id).into_query();
    let provided = Alias::new("provided");
    let places = Entity::of(&scope.ctx)
        .filter(around(center, within))
        .filter(Column::Status.eq(i32::from(pb::RecordStatus::Active)))
        .select_only()
        .column(Column::Id)
        .column(Column::Latitude)
        .column(Column::Longitude)
        .into_query();
    let join = Query::select()
        .column((term::Entity, term::Column::Record))
        .column((provided.clone(), Column::Id))
        .column((provided.clone(), Column::Latitude))
        .column((provided.clone(), Column::Longitude))
        .from(term::Entity)
        .join_subquery(
            JoinType::InnerJoin,
            places,
            provided.clone(),
            Expr::col((term::Entity, term::Column::Target)).equals((provided, Column::Id)),
        )
        .and_where(term::Column::Organization.eq(scope.ctx.organization()))
        .and_where(term::Column::Kind.eq(HealthcareService::COLLECTION))
        .and_where(term::Column::Field.eq("location"))
        .and_where(Expr::col((term::Entity, term::Column::Record)).in_subquery(fitting))
        .to_owned();
    let mut nearest: HashMap<Uuid, Hit> = HashMap::new();
    for row in scope.db.query_all(&join).await? {
        let (service, location): (Uuid, Uuid) =
            (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let (latitude, longitude) = (row.try_get_by_index(2)?, row.try_get_by_index(3)?);
        let meters = distance(center, Position { latitude, longitude });
        let hit = Hit { service, location: Some(location), meters, name: vec![] };
        if meters <= within && nearest.get(&service).is_none_or(|known| hit.is_before(known)) {
            nearest.insert(service, hit);
        }
    }
    let mut hits: Vec<Hit> = nearest.into_values().collect();
    hits.sort_by(|a, b| a.meters.total_cmp(&b.meters).then(a.service.cmp(&b.service)));
    if let Some((meters, id)) = page.after().and_then(<[u8]>::split_first_chunk::<8>) {
        let (meters, id) = (f64::from_be_bytes(*meters), Uuid::from_slice(id).unwrap_or_default());
        let seen = |hit: &Hit| hit.meters.total_cmp(&meters).then(hit.service.cmp(&id)).is_le();
        hits.drain(..hits.partition_point(seen));
    }
    hits.truncate(usize::try_from(page.limit()).unwrap_or(usize::MAX));
    Ok(hits)
}

/// The places in the square around the circle, which an index finds.
fn around(center: Position, within: f64) -> Condition {
    use location::Column;
    let degrees = (within / EARTH).to_degrees();
    let (south, north) = (center.latitude - degrees, center.latitude + degrees);
    let square = Condition::all().add(Column::Latitude.between(south, north));
    // Towards the poles and over the date line the square is no range of longitudes; the distance decides there.
    let narrow = north.abs().max(south.abs()).to_radians().cos();
    if narrow <= 0.01 {
        return square;
    }
    let (west, east) = (center.longitude - degrees / narrow, center.longitude + degrees / narrow);
    if west < -180.0 || east > 180.0 {
        return square;
    }
    square.add(Column::Longitude.between(west, east))
}

/// Meters from one position to another as the crow flies (haversine).
fn distance(from: Position, to: Position) -> f64 {
    let (from_latitude, to_latitude) = (from.latitude.to_radians(), to.latitude.to_radians());
    let north = (to_latitude - from_latitude) / 2.0;
    let east = (to.longitude - from.longitude).to_radians() / 2.0;
    let chord = north.sin().powi(2) + from_latitude.cos() * to_latitude.cos() * east.sin().powi(2);
    2.0 * EARTH * chord.sqrt().min(1.0).asin()
}

/// What a caller wants to know of each hit.
async fn matches(scope: &Scope, hits: Vec<Hit>) -> Result<Vec<(Hit, pb::ServiceMatch)>> {
    let mut services =
        by_id::<healthcare_service::Entity>(scope, hits.iter().map(|hit| hit.service)).await?;
    let place = |hit: &Hit| {
        let first = services.get(&hit.service).and_then(|row| row.locations.0.first());
        hit.location.or(first.map(|id| id.uuid()))
    };
    let places: Vec<Option<Uuid>> = hits.iter().map(place).collect();
    let locations = by_id::<location::Entity>(scope, places.iter().copied().flatten()).await?;
    let providers = services.values().filter_map(|row| row.provided_by).map(|id| id.uuid());
    let organizations = by_id::<organization::Entity>(scope, providers).await?;
    let mut matches = Vec::with_capacity(hits.len());
    for (hit, place) in hits.into_iter().zip(places) {
        let Some(service) = services.remove(&hit.service) else { continue };
        let provider = service.provided_by.and_then(|id| organizations.get(&id.uuid()));
        let found = pb::ServiceMatch {
            organization_display_name: provider
                .map(|row| row.display_name.clone())
                .unwrap_or_default(),
            healthcare_service: Some(service.into()),
            location: place.and_then(|id| locations.get(&id)).cloned().map(Into::into),
            distance_meters: hit.meters,
        };
        matches.push((hit, found));
    }
    Ok(matches)
}

async fn by_id<E: crate::record::Record>(
    scope: &Scope,
    ids: impl Iterator<Item = Uuid>,
) -> Result<HashMap<Uuid, E::Model>, Error> {
    let rows = caseward_store::list(scope, E::of(&scope.ctx).filter(E::ID.is_in(ids))).await?;
    let now = scope.ctx.now();
    Ok(rows.into_iter().map(|row| (E::id(&row), crate::record::as_of::<E>(now, row))).collect())
}
