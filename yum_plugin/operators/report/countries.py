"""The place of each country on the map: one point in whole degrees, near where its people live."""
from typing import Dict, NamedTuple, Optional


class CountryLocation(NamedTuple):
    """A country on the map."""

    latitude: int  # degrees
    longitude: int
    name: str


# ISO 3166-1 code, latitude, longitude, name in English.
_TABLE = """
AD 42 2 Andorra|AE 24 54 United Arab Emirates|AF 34 66 Afghanistan|AL 41 20 Albania|AM 40 45 Armenia|AO -11 16 Angola
AR -35 -61 Argentina|AT 47 14 Austria|AU -33 147 Australia|AZ 40 48 Azerbaijan|BA 44 18 Bosnia and Herzegovina|BD 24 90 Bangladesh
BE 51 4 Belgium|BF 12 -2 Burkina Faso|BG 43 25 Bulgaria|BH 26 51 Bahrain|BI -3 30 Burundi|BJ 8 2 Benin|BN 5 115 Brunei
BO -17 -65 Bolivia|BR -18 -46 Brazil|BT 27 90 Bhutan|BW -23 25 Botswana|BY 54 28 Belarus|BZ 17 -89 Belize|CA 47 -76 Canada
CD -3 23 DR Congo|CF 6 20 Central African Republic|CG -2 15 Congo|CH 47 8 Switzerland|CI 7 -6 Ivory Coast|CL -33 -71 Chile
CM 5 12 Cameroon|CN 33 113 China|CO 5 -74 Colombia|CR 10 -84 Costa Rica|CU 22 -79 Cuba|CV 16 -24 Cape Verde|CY 35 33 Cyprus
CZ 50 15 Czechia|DE 51 10 Germany|DJ 12 43 Djibouti|DK 56 10 Denmark|DO 19 -71 Dominican Republic|DZ 36 3 Algeria
EC -1 -79 Ecuador|EE 59 26 Estonia|EG 30 31 Egypt|ER 15 39 Eritrea|ES 40 -4 Spain|ET 9 39 Ethiopia|FI 61 25 Finland
FJ -18 178 Fiji|FO 62 -7 Faroe Islands|FR 47 2 France|GA -1 12 Gabon|GB 52 -1 United Kingdom|GE 42 44 Georgia
GH 7 -1 Ghana|GI 36 -5 Gibraltar|GL 64 -51 Greenland|GN 10 -11 Guinea|GR 39 22 Greece|GT 15 -90 Guatemala|GY 6 -59 Guyana
HK 22 114 Hong Kong|HN 15 -87 Honduras|HR 45 16 Croatia|HT 19 -73 Haiti|HU 47 19 Hungary|ID -7 108 Indonesia
IE 53 -8 Ireland|IL 32 35 Israel|IM 54 -5 Isle of Man|IN 20 78 India|IQ 33 44 Iraq|IR 34 52 Iran|IS 65 -19 Iceland
IT 43 12 Italy|JE 49 -2 Jersey|JM 18 -77 Jamaica|JO 31 36 Jordan|JP 36 138 Japan|KE -1 37 Kenya|KG 42 75 Kyrgyzstan
KH 12 105 Cambodia|KP 40 127 North Korea|KR 37 128 South Korea|KW 29 48 Kuwait|KZ 48 70 Kazakhstan|LA 18 103 Laos
LB 34 36 Lebanon|LI 47 10 Liechtenstein|LK 7 81 Sri Lanka|LR 6 -9 Liberia|LS -30 28 Lesotho|LT 55 24 Lithuania
LU 50 6 Luxembourg|LV 57 25 Latvia|LY 32 16 Libya|MA 33 -7 Morocco|MC 44 7 Monaco|MD 47 29 Moldova|ME 43 19 Montenegro
MG -19 47 Madagascar|MK 42 22 North Macedonia|ML 13 -7 Mali|MM 20 96 Myanmar|MN 47 105 Mongolia|MO 22 113 Macao
MR 18 -14 Mauritania|MT 36 14 Malta|MU -20 58 Mauritius|MV 4 73 Maldives|MW -14 34 Malawi|MX 20 -100 Mexico
MY 4 102 Malaysia|MZ -19 35 Mozambique|NA -22 17 Namibia|NC -22 166 New Caledonia|NE 14 8 Niger|NG 8 7 Nigeria
NI 12 -86 Nicaragua|NL 52 6 Netherlands|NO 60 9 Norway|NP 28 84 Nepal|NZ -39 176 New Zealand|OM 22 58 Oman|PA 9 -80 Panama
PE -11 -76 Peru|PF -18 -149 French Polynesia|PG -6 145 Papua New Guinea|PH 14 121 Philippines|PK 31 73 Pakistan
PL 52 20 Poland|PR 18 -66 Puerto Rico|PS 32 35 Palestine|PT 39 -8 Portugal|PY -25 -57 Paraguay|QA 25 51 Qatar
RE -21 56 Reunion|RO 45 26 Romania|RS 44 21 Serbia|RU 55 40 Russia|RW -2 30 Rwanda|SA 24 46 Saudi Arabia|SC -5 55 Seychelles
SD 15 32 Sudan|SE 59 16 Sweden|SG 1 104 Singapore|SI 46 15 Slovenia|SK 49 19 Slovakia|SL 8 -12 Sierra Leone
SN 15 -16 Senegal|SO 2 45 Somalia|SR 5 -56 Suriname|SV 14 -89 El Salvador|SY 35 38 Syria|SZ -26 31 Eswatini|TD 13 18 Chad
TG 8 1 Togo|TH 15 101 Thailand|TJ 39 69 Tajikistan|TM 38 58 Turkmenistan|TN 36 10 Tunisia|TR 39 33 Turkey
TT 10 -61 Trinidad and Tobago|TW 24 121 Taiwan
TZ -6 36 Tanzania|UA 49 31 Ukraine|UG 1 32 Uganda|US 39 -93 United States|UY -34 -56 Uruguay
UZ 41 66 Uzbekistan|VE 9 -66 Venezuela|VN 16 107 Vietnam|YE 15 45 Yemen|ZA -29 26 South Africa|ZM -14 28 Zambia|ZW -18 30 Zimbabwe
"""


def _places() -> Dict[str, CountryLocation]:
    found = {}
    for entry in _TABLE.strip().replace("\n", "|").split("|"):
        code, latitude, longitude, name = entry.split(" ", 3)
        found[code] = CountryLocation(int(latitude), int(longitude), name)
    return found


PLACES = _places()


def place_of(code: str) -> Optional[CountryLocation]:
    """Return where a country is; None for a code that is not in the table."""
    return PLACES.get(code.upper())
