"""Where the attacks were published."""

from __future__ import annotations

from auditor.findings import Paper

SONG = Paper(
    citation="Song, Mittal: Systematic Evaluation of Privacy Risks of Machine Learning Models, USENIX Security 2021",
    url="https://www.usenix.org/conference/usenixsecurity21/presentation/song",
)
YEOM = Paper(
    citation="Yeom, Giacomelli, Fredrikson, Jha: Privacy Risk in Machine Learning, CSF 2018",
    url="https://arxiv.org/abs/1709.01604",
)
YE = Paper(
    citation="Ye, Maddi, Murakonda, Bindschaedler, Shokri: Enhanced Membership Inference Attacks against Machine "
    "Learning Models, CCS 2022",
    url="https://arxiv.org/abs/2111.09679",
)
CARLINI = Paper(
    citation="Carlini, Chien, Nasr, Song, Terzis, Tramer: Membership Inference Attacks From First Principles, "
    "IEEE S&P 2022",
    url="https://arxiv.org/abs/2112.03570",
)
ZARIFZADEH = Paper(
    citation="Zarifzadeh, Liu, Shokri: Low-Cost High-Power Membership Inference Attacks, ICML 2024",
    url="https://arxiv.org/abs/2312.03262",
)
FREDRIKSON = Paper(
    citation="Fredrikson, Jha, Ristenpart: Model Inversion Attacks that Exploit Confidence Information and Basic "
    "Countermeasures, CCS 2015",
    url="https://doi.org/10.1145/2810103.2813677",
)
YANG = Paper(
    citation="Yang, Zhang, Chang, Liang: Neural Network Inversion in Adversarial Setting via Background Knowledge "
    "Alignment, CCS 2019",
    url="https://arxiv.org/abs/1902.08552",
)
SHOKRI = Paper(
    citation="Shokri, Stronati, Song, Shmatikov: Membership Inference Attacks against Machine Learning "
    "Models, IEEE S&P 2017",
    url="https://arxiv.org/abs/1610.05820",
)
SALEM = Paper(
    citation="Salem, Zhang, Humbert, Berrang, Fritz, Backes: ML-Leaks, NDSS 2019",
    url="https://arxiv.org/abs/1806.01246",
)
LI = Paper(
    citation="Li, Li, Ribeiro: Membership Inference Attacks and Defenses in Classification Models, CODASPY 2021",
    url="https://arxiv.org/abs/2002.12062",
)
JAYARAMAN = Paper(
    citation="Jayaraman, Wang, Knipmeyer, Gu, Evans: Revisiting Membership Inference Under Realistic "
    "Assumptions, PoPETs 2021",
    url="https://arxiv.org/abs/2005.10881",
)
CHOQUETTE = Paper(
    citation="Choquette-Choo, Tramer, Carlini, Papernot: Label-Only Membership Inference Attacks, ICML 2021",
    url="https://arxiv.org/abs/2007.14321",
)
LIU = Paper(
    citation="Liu, Zhao, Backes, Zhang: Membership Inference Attacks by Exploiting Loss Trajectory, CCS 2022",
    url="https://arxiv.org/abs/2208.14933",
)
SEQMIA = Paper(
    citation="Li, Li, Wu, Hu, Ye, Zhang, Feng, Zhang: SeqMIA: Sequential-Metric Based Membership Inference Attack, "
    "CCS 2024",
    url="https://arxiv.org/abs/2407.15098",
)
DISPARITY = Paper(
    citation="After Membership Inference Attacks as Privacy Tools: Reliability, Disparity and Ensemble, CCS 2025; the "
    "rule is privaudit's own",
    url="https://arxiv.org/abs/2506.13972",
)
WATSON = Paper(
    citation="Watson, Guo, Cormode, Sablayrolles: On the Importance of Difficulty Calibration in Membership "
    "Inference Attacks, ICLR 2022",
    url="https://arxiv.org/abs/2111.08440",
)
RAPID = Paper(
    citation="He, Li, Wang et al.: Is Difficulty Calibration All We Need? Towards More Practical Membership "
    "Inference Attacks, CCS 2024",
    url="https://arxiv.org/abs/2409.00426",
)
BERTRAN = Paper(
    citation="Bertran, Tang, Roth, Kearns, Morgenstern, Wu: Scalable Membership Inference Attacks via "
    "Quantile Regression, NeurIPS 2023",
    url="https://arxiv.org/abs/2307.03694",
)
LASSILA = Paper(
    citation="Lassila, Ostman, Ngo: Practical Bayes-Optimal Membership Inference Attacks, 2025",
    url="https://arxiv.org/abs/2505.24089",
)
BAVARIA = Paper(
    citation="Brannvall: Exponential-Family Membership Inference: From LiRA and RMIA to BaVarIA, 2026",
    url="https://arxiv.org/abs/2603.11799",
)
NASR = Paper(
    citation="Nasr, Shokri, Houmansadr: Comprehensive Privacy Analysis of Deep Learning, IEEE S&P 2019",
    url="https://arxiv.org/abs/1812.00910",
)
GMI = Paper(
    citation="Zhang, Jia, Pei, Wang, Li, Song: The Secret Revealer: Generative Model-Inversion Attacks Against Deep "
    "Neural Networks, CVPR 2020",
    url="https://openaccess.thecvf.com/content_CVPR_2020/html/Zhang_The_Secret_Revealer_Generative_Model-Inversion_"
    "Attacks_Against_Deep_Neural_Networks_CVPR_2020_paper.html",
)
LOMMA = Paper(
    citation="Nguyen, Chandrasegaran, Abdollahzadeh, Cheung: Re-thinking Model Inversion Attacks Against Deep Neural "
    "Networks, CVPR 2023",
    url="https://arxiv.org/abs/2304.01669",
)
PLG_MI = Paper(
    citation="Yuan, Chen, Zhang, Zhang, Yu, Zhang: Pseudo Label-Guided Model Inversion Attack via Conditional "
    "Generative Adversarial Network, AAAI 2023",
    url="https://arxiv.org/abs/2302.09814",
)
BREP_MI = Paper(
    citation="Kahla, Chen, Just, Jia: Label-Only Model Inversion Attacks via Boundary Repulsion, CVPR 2022",
    url="https://openaccess.thecvf.com/content/CVPR2022/html/Kahla_Label-Only_Model_Inversion_Attacks_via_Boundary_"
    "Repulsion_CVPR_2022_paper.html",
)
MIRROR = Paper(
    citation="An, Tao, Xu, Liu, Shen, Yao, Xu, Zhang: MIRROR: Model Inversion for Deep Learning Network with High "
    "Fidelity, NDSS 2022",
    url="https://www.ndss-symposium.org/ndss-paper/auto-draft-203/",
)
KEDMI = Paper(
    citation="Chen, Kahla, Jia, Qi: Knowledge-Enriched Distributional Model Inversion Attacks, ICCV 2021",
    url="https://arxiv.org/abs/2010.04092",
)
VMI = Paper(
    citation="Wang, Fu, Li, Khisti, Zemel, Makhzani: Variational Model Inversion Attacks, NeurIPS 2021",
    url="https://proceedings.neurips.cc/paper/2021/hash/50a074e6a8da4662ae0a29edde722179-Abstract.html",
)
PPA = Paper(
    citation="Struppek, Hintersdorf, De Almeida Correia, Adler, Kersting: Plug & Play Attacks: Towards Robust and "
    "Flexible Model Inversion Attacks, ICML 2022",
    url="https://arxiv.org/abs/2201.12179",
)
IF_GMI = Paper(
    citation="Qiu, Fang, Yu, Chen, Qiu, Xia: A Closer Look at GAN Priors: Exploiting Intermediate Features for "
    "Enhanced Model Inversion Attacks, ECCV 2024",
    url="https://arxiv.org/abs/2407.13863",
)
RLB_MI = Paper(
    citation="Han, Choi, Lee, Kim: Reinforcement Learning-Based Black-Box Model Inversion Attacks, CVPR 2023",
    url="https://openaccess.thecvf.com/content/CVPR2023/html/Han_Reinforcement_Learning-Based_Black-Box_Model_"
    "Inversion_Attacks_CVPR_2023_paper.html",
)
LOKT = Paper(
    citation="Nguyen, Chandrasegaran, Abdollahzadeh, Cheung: Label-Only Model Inversion Attacks via Knowledge "
    "Transfer, NeurIPS 2023",
    url="https://openreview.net/forum?id=NuoIThPPag",
)
BASELINE = Paper(citation="A baseline of privaudit's own, without a paper", url="")
