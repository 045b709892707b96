//! The words of the shipped templates. None names a condition, a person or a place; all lead to the portal.
use super::*;

const PATIENT: &[Channel] = &[Channel::Email, Channel::Inbox];
const STAFF: &[Channel] = &[Channel::Inbox];

pub(super) const ALL: [Shipped; 14] = [
    Shipped {
        key: CASE_ENROLLED,
        display_name: "Introduces the case manager",
        channels: PATIENT,
        texts: [
            (
                "en",
                "Your care team",
                "Hello,\n\nyou now have a case manager: one person on your care team who answers for how your care fits together. See who it is and how to reach them:\n{{ portal }}\n\nYour care team\n",
            ),
            (
                "es",
                "Su equipo de atención",
                "Hola:\n\nya tiene una persona responsable de coordinar su atención dentro de su equipo. Vea quién es y cómo comunicarse con ella:\n{{ portal }}\n\nSu equipo de atención\n",
            ),
        ],
    },
    Shipped {
        key: ACCOUNTABILITY_MOVED,
        display_name: "Introduces a new case manager",
        channels: PATIENT,
        texts: [
            (
                "en",
                "A change in your care team",
                "Hello,\n\nsomebody else on your care team is your case manager from now on. Your plan stays as it is. See who it is and how to reach them:\n{{ portal }}\n\nYour care team\n",
            ),
            (
                "es",
                "Un cambio en su equipo de atención",
                "Hola:\n\na partir de ahora, otra persona de su equipo coordina su atención. Su plan sigue igual. Vea quién es y cómo comunicarse con ella:\n{{ portal }}\n\nSu equipo de atención\n",
            ),
        ],
    },
    Shipped {
        key: CASE_ASSIGNED,
        display_name: "Tells a case manager of a case that is theirs",
        channels: STAFF,
        texts: [
            (
                "en",
                "A case is yours",
                "You are accountable for a case from now on. See whom it is about and what is due:\n{{ portal }}\n",
            ),
            (
                "es",
                "Un caso es suyo",
                "A partir de ahora usted responde por un caso. Vea de quién se trata y qué está pendiente:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: CASE_TAKEN_OVER,
        display_name: "Tells a case manager that somebody else took a case over",
        channels: STAFF,
        texts: [
            (
                "en",
                "A case of yours was taken over",
                "Somebody else is accountable for a case of yours from now on. See which:\n{{ portal }}\n",
            ),
            (
                "es",
                "Otra persona se hizo cargo de un caso suyo",
                "A partir de ahora otra persona responde por un caso suyo. Vea cuál:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: HANDOFF_PROPOSED,
        display_name: "Offers a case to a case manager",
        channels: STAFF,
        texts: [
            (
                "en",
                "A case is offered to you",
                "Somebody wants to hand a case over to you. Accept or decline it:\n{{ portal }}\n",
            ),
            (
                "es",
                "Se le ofrece un caso",
                "Alguien quiere transferirle un caso. Acéptelo o rechácelo:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: HANDOFF_DECLINED,
        display_name: "Tells a case manager that an offered case was declined",
        channels: STAFF,
        texts: [
            (
                "en",
                "A case you offered was declined",
                "A case that you wanted to hand over was declined, and you are accountable still. See why:\n{{ portal }}\n",
            ),
            (
                "es",
                "Se rechazó un caso que usted ofreció",
                "Se rechazó un caso que usted quería transferir, y usted sigue respondiendo por él. Vea el motivo:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: HANDOFF_EXPIRED,
        display_name: "Tells a case manager that nobody answered an offer",
        channels: STAFF,
        texts: [
            (
                "en",
                "Nobody answered your offer of a case",
                "Nobody took the case that you wanted to hand over, and you are accountable still. Offer it again:\n{{ portal }}\n",
            ),
            (
                "es",
                "Nadie respondió a su oferta de un caso",
                "Nadie aceptó el caso que usted quería transferir, y usted sigue respondiendo por él. Ofrézcalo de nuevo:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: TASK_OVERDUE,
        display_name: "Tells staff that a task is late",
        channels: STAFF,
        texts: [
            (
                "en",
                "A task of yours is late",
                "A task that is yours was due and is not done. See which:\n{{ portal }}\n",
            ),
            (
                "es",
                "Una tarea suya está atrasada",
                "Una tarea suya venció y no está hecha. Vea cuál:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: TASK_ASSIGNED,
        display_name: "Tells staff of a task",
        channels: STAFF,
        texts: [
            (
                "en",
                "A task for you",
                "A task was assigned to you. See what it is and when it is due:\n{{ portal }}\n",
            ),
            (
                "es",
                "Una tarea para usted",
                "Se le asignó una tarea. Vea de qué se trata y para cuándo es:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: CRITICAL_ITEM,
        display_name: "Tells staff of an answer that cannot wait",
        channels: STAFF,
        texts: [
            (
                "en",
                "Urgent: an answer needs you now",
                "An assessment of somebody in your care holds an answer that cannot wait. Act on the task that was raised:\n{{ portal }}\n",
            ),
            (
                "es",
                "Urgente: una respuesta requiere su atención",
                "Una evaluación de una persona a su cargo contiene una respuesta que no puede esperar. Atienda la tarea que se creó:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: PLAN_ACTIVATED,
        display_name: "Tells that a copy of the plan is there",
        channels: PATIENT,
        texts: [
            (
                "en",
                "Your plan is ready",
                "Hello,\n\nthe plan that you made with your care team begins. Your copy is here:\n{{ portal }}\n\nYour care team\n",
            ),
            (
                "es",
                "Su plan está listo",
                "Hola:\n\ncomienza el plan que preparó con su equipo de atención. Su copia está aquí:\n{{ portal }}\n\nSu equipo de atención\n",
            ),
        ],
    },
    Shipped {
        key: CASE_CLOSED,
        display_name: "Says goodbye",
        channels: PATIENT,
        texts: [
            (
                "en",
                "Our work together",
                "Hello,\n\nour work together is complete for now. What we did and whom to ask from here on is kept for you:\n{{ portal }}\n\nYour care team\n",
            ),
            (
                "es",
                "Nuestro trabajo juntos",
                "Hola:\n\nnuestro trabajo juntos ha concluido por ahora. Lo que hicimos y a quién acudir de aquí en adelante queda guardado para usted:\n{{ portal }}\n\nSu equipo de atención\n",
            ),
        ],
    },
    Shipped {
        key: EMERGENCY_ACCESS,
        display_name: "Tells that somebody opened the record in an emergency",
        channels: PATIENT,
        texts: [
            (
                "en",
                "Somebody opened your record in an emergency",
                "Hello,\n\nsomebody who is not on your care team opened your record for up to an hour and said that it was an emergency. A supervisor will look into it. See who it was and why:\n{{ portal }}\n\nYour care team\n",
            ),
            (
                "es",
                "Alguien abrió su expediente por una emergencia",
                "Hola:\n\nuna persona que no es de su equipo de atención abrió su expediente por un máximo de una hora e indicó que era una emergencia. Un supervisor lo revisará. Vea quién fue y por qué:\n{{ portal }}\n\nSu equipo de atención\n",
            ),
        ],
    },
    Shipped {
        key: CHECK_PLAN,
        display_name: "Reminds of the plan",
        channels: PATIENT,
        texts: [
            (
                "en",
                "A look at your plan",
                "Hello,\n\nhow is it going? Take a look at your plan and tell us what has changed:\n{{ portal }}\n\nYour care team\n",
            ),
            (
                "es",
                "Un vistazo a su plan",
                "Hola:\n\n¿cómo va todo? Revise su plan y cuéntenos qué ha cambiado:\n{{ portal }}\n\nSu equipo de atención\n",
            ),
        ],
    },
];
