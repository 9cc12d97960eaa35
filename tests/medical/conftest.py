import pytest


@pytest.fixture
def told(tmp_path):
    """What is said of a file that is refused, without the folder of the test: ``told(read_nifti, "a.nii")``."""
    from segkit.errors import DataError

    def told(read, name, **options):
        with pytest.raises(DataError) as caught:
            read(tmp_path / name, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return told
