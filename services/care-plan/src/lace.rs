//! The LACE index of van Walraven (CMAJ 2010): the risk of death or return within 30 days.

const VARIANT: &str = "lace-2010";

/// The longest stay and the most visits that are taken for true.
const MOST: u32 = 3_650;

/// What the index is made of.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Lace {
    /// Length of stay in whole days; 0 is less than one day.
    pub(crate) days: u32,
    /// Whether the admission was acute (emergent).
    pub(crate) acute: bool,
    pub(crate) comorbidities: Vec<Comorbidity>,
    /// Emergency department visits in the six months before, without the index visit.
    pub(crate) visits: u32,
}
caseward_core::confidential!(Lace);

/// A previous condition that counts, by the index's own weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comorbidity {
    MyocardialInfarction,
    CerebrovascularDisease,
    PeripheralVascularDisease,
    Diabetes,
    HeartFailure,
    DiabetesWithEndOrganDamage,
    ChronicPulmonaryDisease,
    MildLiverOrRenalDisease,
    Tumour,
    Dementia,
    ConnectiveTissueDisease,
    Aids,
    SevereLiverOrRenalDisease,
    MetastaticTumour,
}

/// The bands in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Risk {
    /// 0 to 4.
    Low,
    /// 5 to 9.
    Moderate,
    /// 10 to 19.
    High,
}

/// The points of each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    /// Which table was used. Other tables go by the same name (a "modified" LACE gives 6 points
    /// for 14 days or more, others take the classic Charlson weights).
    pub(crate) variant: &'static str,
    pub(crate) length: u8,
    pub(crate) acuity: u8,
    pub(crate) comorbidity: u8,
    pub(crate) emergency: u8,
}

impl Lace {
    /// The points, or which field is out of bounds.
    pub(crate) fn index(&self) -> Result<Index, (&'static str, &'static str)> {
        if self.days > MOST {
            return Err(("days", "wants 0 to 3650"));
        }
        if self.visits > MOST {
            return Err(("visits", "wants 0 to 3650"));
        }
        let length = match self.days {
            0 => 0,
            1 => 1,
            2 => 2,
            3 => 3,
            4..=6 => 4,
            7..=13 => 5,
            14.. => 7,
        };
        let mut counted: Vec<Comorbidity> = vec![];
        for comorbidity in &self.comorbidities {
            if !counted.contains(comorbidity) {
                counted.push(*comorbidity);
            }
        }
        let comorbidity = match counted.iter().map(|c| c.points()).sum::<u8>() {
            sum @ 0..=3 => sum,
            4.. => 5,
        };
        let emergency = match self.visits {
            0 => 0,
            1 => 1,
            2 => 2,
            3 => 3,
            4.. => 4,
        };
        Ok(Index {
            variant: VARIANT,
            length,
            acuity: if self.acute { 3 } else { 0 },
            comorbidity,
            emergency,
        })
    }
}

impl Comorbidity {
    fn points(self) -> u8 {
        match self {
            Self::MyocardialInfarction
            | Self::CerebrovascularDisease
            | Self::PeripheralVascularDisease
            | Self::Diabetes => 1,
            Self::HeartFailure
            | Self::DiabetesWithEndOrganDamage
            | Self::ChronicPulmonaryDisease
            | Self::MildLiverOrRenalDisease
            | Self::Tumour => 2,
            Self::Dementia | Self::ConnectiveTissueDisease => 3,
            Self::Aids | Self::SevereLiverOrRenalDisease => 4,
            Self::MetastaticTumour => 6,
        }
    }
}

impl Index {
    /// 0 to 19.
    pub(crate) fn total(self) -> u8 {
        self.length + self.acuity + self.comorbidity + self.emergency
    }

    pub(crate) fn risk(self) -> Risk {
        match self.total() {
            0..=4 => Risk::Low,
            5..=9 => Risk::Moderate,
            10.. => Risk::High,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Comorbidity::*, *};

    fn lace(days: u32, acute: bool, comorbidities: &[Comorbidity], visits: u32) -> Index {
        Lace { days, acute, comorbidities: comorbidities.to_vec(), visits }.index().unwrap()
    }

    #[test]
    fn the_published_examples_score_as_published() {
        let high = lace(3, true, &[HeartFailure, Diabetes], 1);
        assert_eq!((high.total(), high.risk()), (10, Risk::High));
        assert_eq!(high.variant, "lace-2010");
        let none = lace(0, false, &[], 0);
        assert_eq!((none.total(), none.risk()), (0, Risk::Low));
        let most = lace(14, true, &[MetastaticTumour], 5);
        assert_eq!((most.total(), most.risk()), (19, Risk::High));
        let capped = lace(5, false, &[Dementia, MyocardialInfarction], 2);
        assert_eq!((capped.total(), capped.risk()), (11, Risk::High));
    }

    #[test]
    fn the_length_of_stay_has_steps_and_no_six() {
        let points: Vec<u8> = [0, 1, 2, 3, 4, 6, 7, 13, 14, 27, 28, 3650]
            .into_iter()
            .map(|days| lace(days, false, &[], 0).length)
            .collect();
        assert_eq!(points, [0, 1, 2, 3, 4, 4, 5, 5, 7, 7, 7, 7]);
    }

    #[test]
    fn comorbidities_weigh_by_the_table_of_the_index_itself() {
        let weighing: [(u8, &[Comorbidity]); 5] = [
            (
                1,
                &[
                    MyocardialInfarction,
                    CerebrovascularDisease,
                    PeripheralVascularDisease,
                    Diabetes,
                ],
            ),
            (
                2,
                &[
                    HeartFailure,
                    DiabetesWithEndOrganDamage,
                    ChronicPulmonaryDisease,
                    MildLiverOrRenalDisease,
                    Tumour,
                ],
            ),
            (3, &[Dementia, ConnectiveTissueDisease]),
            (4, &[Aids, SevereLiverOrRenalDisease]),
            (6, &[MetastaticTumour]),
        ];
        for (points, comorbidities) in weighing {
            assert!(comorbidities.iter().all(|c| c.points() == points));
        }
    }

    #[test]
    fn a_comorbidity_counts_once_and_their_sum_is_capped() {
        assert_eq!(lace(0, false, &[Diabetes, Diabetes], 0).comorbidity, 1);
        assert_eq!(lace(0, false, &[Dementia], 0).comorbidity, 3);
        assert_eq!(lace(0, false, &[Aids], 0).comorbidity, 5);
    }

    #[test]
    fn bands_begin_where_the_table_says() {
        assert_eq!(lace(4, false, &[], 0).risk(), Risk::Low);
        assert_eq!(lace(7, false, &[], 0).risk(), Risk::Moderate);
        assert_eq!(lace(7, false, &[], 4).risk(), Risk::Moderate);
        assert_eq!(lace(7, true, &[], 2).risk(), Risk::High);
    }

    #[test]
    fn numbers_out_of_bounds_are_refused_by_name() {
        let lace = Lace { days: 3651, acute: false, comorbidities: vec![], visits: 0 };
        assert_eq!(lace.index(), Err(("days", "wants 0 to 3650")));
        let lace = Lace { days: 0, visits: u32::MAX, ..lace };
        assert_eq!(lace.index(), Err(("visits", "wants 0 to 3650")));
    }
}
