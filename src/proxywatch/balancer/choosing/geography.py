"""Countries and regions: who stands in when a country has no usable node.

Codes are ISO 3166 in lower case; `uk` is accepted for `gb`. An exit's country may also be given by name, as
exit checks tell it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

Fallback = Literal["none", "region", "any"]

ALIASES = {"uk": "gb", "en": "gb"}
_LETTERS = 2

# English names of the countries in which VPN services have servers.
_NAMES = (
    "ae united arab emirates|al albania|am armenia|ao angola|ar argentina|at austria|au australia|"
    "az azerbaijan|ba bosnia and herzegovina|bd bangladesh|be belgium|bg bulgaria|bh bahrain|bm bermuda|"
    "bn brunei|bo bolivia|br brazil|bs bahamas|bt bhutan|by belarus|bz belize|ca canada|ch switzerland|"
    "cl chile|cn china|co colombia|cr costa rica|cy cyprus|cz czechia|cz czech republic|de germany|"
    "dk denmark|do dominican republic|dz algeria|ec ecuador|ee estonia|eg egypt|es spain|et ethiopia|"
    "fi finland|fr france|gb united kingdom|gb great britain|gb uk|ge georgia|gh ghana|gl greenland|"
    "gr greece|gt guatemala|gu guam|hk hong kong|hn honduras|hr croatia|hu hungary|id indonesia|"
    "ie ireland|il israel|im isle of man|in india|iq iraq|ir iran|is iceland|it italy|je jersey|"
    "jm jamaica|jo jordan|jp japan|ke kenya|kg kyrgyzstan|kh cambodia|km comoros|kr south korea|"
    "kr republic of korea|kw kuwait|ky cayman islands|kz kazakhstan|la laos|lb lebanon|li liechtenstein|"
    "lk sri lanka|lt lithuania|lu luxembourg|lv latvia|ly libya|ma morocco|mc monaco|md moldova|"
    "me montenegro|mk north macedonia|mm myanmar|mn mongolia|mo macao|mo macau|mr mauritania|mt malta|"
    "mu mauritius|mx mexico|my malaysia|mz mozambique|ng nigeria|ni nicaragua|nl netherlands|"
    "nl the netherlands|no norway|np nepal|nz new zealand|om oman|pa panama|pe peru|pg papua new guinea|"
    "ph philippines|pk pakistan|pl poland|pr puerto rico|pt portugal|py paraguay|qa qatar|ro romania|"
    "rs serbia|ru russia|ru russian federation|rw rwanda|sa saudi arabia|se sweden|sg singapore|"
    "si slovenia|sk slovakia|sn senegal|so somalia|sv el salvador|th thailand|tn tunisia|tr turkey|"
    "tr turkiye|tr türkiye|tt trinidad and tobago|tw taiwan|tz tanzania|ua ukraine|ug uganda|"
    "us united states|us usa|us united states of america|uy uruguay|uz uzbekistan|ve venezuela|"
    "vn vietnam|vn viet nam|za south africa|zm zambia|zw zimbabwe"
)
_BY_NAME = {line[3:]: line[:2] for line in _NAMES.split("|")}


def country_code(text: str) -> str:
    """The code of a country given by code, alias or English name; else the text in lower case."""
    word = text.strip().lower()
    if len(word) == _LETTERS:
        return ALIASES.get(word, word)
    return _BY_NAME.get(word, word)


def is_code(text: str) -> bool:
    """Whether the text looks like a country's code."""
    return len(text) == _LETTERS and text.isascii() and text.isalpha() and text.islower()


class Regions:
    """Regions by name, each with its countries in the order in which they stand in for each other."""

    def __init__(self, regions: Mapping[str, Sequence[str]]) -> None:
        self._regions = {
            name: tuple(dict.fromkeys(map(country_code, countries))) for name, countries in regions.items()
        }
        self._of: dict[str, str] = {}
        for name, countries in self._regions.items():
            for country in countries:
                self._of.setdefault(country, name)

    def region(self, country: str) -> str:
        """The first region that lists the country, or empty."""
        return self._of.get(country, "")

    def neighbours(self, country: str) -> tuple[str, ...]:
        """The other countries of its region, in the listed order."""
        listed = self._regions.get(self.region(country), ())
        return tuple(other for other in listed if other != country)

    def preferred(
        self, region: str, requested: str, usable: Callable[[str], bool], everywhere: Sequence[str]
    ) -> str:
        """The country that serves a client of a region: the requested one, else one of the region, else any.

        Args:
            region: The client's region.
            requested: The country that was asked for.
            usable: Whether a country has a usable node.
            everywhere: Every country of the pool, in the order of preference.

        Returns:
            A code, or empty when no country is usable.
        """
        order = (requested, *self._regions.get(region, ()), *everywhere)
        return next((country for country in order if usable(country)), "")
